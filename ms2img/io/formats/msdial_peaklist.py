"""MS-DIAL peak list of one run (versions 4 and 5): a row a peak, with its height and its own MS/MS.

The run's MS/MS is the column "MSMS spectrum"; "MS1 isotopes" beside it is a piece of the survey scan (m/z from the
precursor upwards) and is not read.
"""

from __future__ import annotations

import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats import cells, msdial
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.text import open_text

FIRST_CELLS = ("PeakID", "Peak ID")  # MS-DIAL 4, MS-DIAL 5
_COLUMNS = {
    "spectrum_id": FIRST_CELLS,
    "rt?": ("RT (min)",),  # absent in direct infusion
    "precursor_mz": ("Precursor m/z", "m/z"),  # the second in direct infusion
    "height": ("Height",),
    "adduct?": ("Adduct",),
    "spectrum": ("MSMS spectrum", "MS/MS spectrum"),
}


def read_peaklist(path: str) -> pa.Table:
    """Read one run's peaks, schema `ms2img.io.formats.spectra.UNNAMED`; a peak without MS/MS has no fragments.

    Raises `RunError`: as `open_text`; BAD_HEADER, BAD_VALUE, TRUNCATED (with the line), EMPTY (no peak).
    """
    builder = SpectraBuilder(path)
    with open_text(path) as handle:
        lines = msdial.rows(handle)
        at, first = next(lines, (1, [""]))
        cells.check_header(first, path=path, line=at)
        header = [cell.strip() for cell in first]
        if header[0] not in FIRST_CELLS:
            message = f"the first cell is '{header[0][:40]}'; a peak list starts with '{FIRST_CELLS[0]}'"
            raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {at}")
        places = msdial.find_columns(header, _COLUMNS, path=path, line=at)
        for line, row in lines:
            cells.check_width(row, header, path=path, line=line)
            mz, intensity = msdial.peaks(row[places["spectrum"]], path=path, line=line)
            builder.append(
                f"line {line}",
                spectrum_id=row[places["spectrum_id"]].strip(),
                precursor_mz=cells.required_number(row[places["precursor_mz"]], "precursor m/z", path=path, line=line),
                precursor_intensity=cells.number(row[places["height"]], "height", path=path, line=line),
                rt_seconds=msdial.seconds(row[places["rt"]], path=path, line=line) if "rt" in places else None,
                adduct=cells.text(row[places["adduct"]]) if "adduct" in places else None,
                mz=mz,
                intensity=intensity,
            )
    if not len(builder):
        raise RunError(Code.EMPTY, "a header, but no peak below it", path=path)
    return builder.table()
