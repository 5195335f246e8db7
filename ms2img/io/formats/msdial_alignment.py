"""MS-DIAL alignment export (versions 4 and 5): one representative MS/MS a feature, one height column a run.

Four rows stand above the column header: Class, File type, Injection order and Batch ID of each run. The label of each
is in the cell left of the first run. The averages and deviations per class that follow the runs have no file type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from ms2img.errors import Code, RunError
from ms2img.io.formats import cells, msdial
from ms2img.io.formats.aligned import AlignedTable, HeightColumns
from ms2img.io.formats.spectra import SpectraBuilder
from ms2img.io.text import open_text

FIRST_CELL = "Alignment ID"
HEADER_WITHIN = 20  # rows; where the column header must be found
_COLUMNS = {
    "spectrum_id": (FIRST_CELL,),
    "rt?": ("Average Rt(min)",),
    "precursor_mz": ("Average Mz",),
    "adduct?": ("Adduct type", "Adduct ion name"),
    "spectrum": ("MS/MS spectrum",),
}
_ABOVE = {"class": "Class", "file_type": "File type", "injection_order": "Injection order", "batch": "Batch ID"}


@dataclass(frozen=True)
class AlignedRun:
    """One run's column: where it stands, and what the rows above the header say of it (None where null)."""

    column: str
    place: int
    class_name: str | None
    file_type: str | None
    injection_order: str | None
    batch: str | None


def read_alignment_runs(path: str) -> tuple[AlignedRun, ...]:
    """The runs of an alignment export in column order, from its header alone. Raises `RunError`."""
    with open_text(path) as handle:
        return _header(msdial.rows(handle), path)[2]


def read_alignment(path: str, columns: Iterable[str]) -> AlignedTable:
    """Stream the file once and keep the features, and the heights of the runs named by `columns`.

    Memory: features x requested columns. A feature without MS/MS has no peaks. `ms2_source` is "representative".
    A column that is missing or holds a bad height is refused by itself (see `AlignedTable`).

    Raises `RunError`: as `open_text`; BAD_HEADER, BAD_VALUE, TRUNCATED (with the line), EMPTY (no feature).
    """
    builder = SpectraBuilder(path)
    with open_text(path) as handle:
        lines = msdial.rows(handle)
        at, header, runs = _header(lines, path)
        places = msdial.find_columns(header, _COLUMNS, path=path, line=at)
        heights = HeightColumns(path, header, {run.column: run.place for run in runs}, columns)
        for line, row in lines:
            cells.check_width(row, header, path=path, line=line)
            _append_feature(builder, row, places, path=path, line=line)
            heights.append(row, line)
    if not len(builder):
        raise RunError(Code.EMPTY, "a header, but no feature below it", path=path)
    return heights.finish(builder.table(), ms2_source="representative")


def _append_feature(builder: SpectraBuilder, row: list[str], places: dict[str, int], *, path: str, line: int) -> None:
    mz, intensity = msdial.peaks(row[places["spectrum"]], path=path, line=line)
    builder.append(
        f"line {line}",
        spectrum_id=row[places["spectrum_id"]].strip(),
        precursor_mz=cells.required_number(row[places["precursor_mz"]], "precursor m/z", path=path, line=line),
        rt_seconds=msdial.seconds(row[places["rt"]], path=path, line=line) if "rt" in places else None,
        adduct=cells.text(row[places["adduct"]]) if "adduct" in places else None,
        mz=mz,
        intensity=intensity,
    )


def _header(lines: Iterator[tuple[int, list[str]]], path: str) -> tuple[int, list[str], tuple[AlignedRun, ...]]:
    """Consume the lines up to the column header: its line number, its cells, the runs."""
    labelled: dict[str, tuple[list[str], int]] = {}
    for line, row in islice(lines, HEADER_WITHIN):
        cells.check_header(row, path=path, line=line)
        if row[0].strip() == FIRST_CELL:
            header = [cell.strip() for cell in row]
            return line, header, _runs(header, labelled, path=path, line=line)
        labelled |= {cell.strip(): (row, place) for place, cell in enumerate(row) if cell.strip() in _ABOVE.values()}
    raise RunError(Code.BAD_HEADER, f"no line starts with '{FIRST_CELL}': not an alignment export", path=path)


def _runs(
    header: list[str], labelled: dict[str, tuple[list[str], int]], *, path: str, line: int
) -> tuple[AlignedRun, ...]:
    """`labelled`: each label of a row above the header -> that row, and the label's place in it."""
    if _ABOVE["file_type"] not in labelled:
        message = "no row 'File type' above the column header: export the alignment result with its class rows"
        raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
    first = labelled[_ABOVE["file_type"]][1] + 1

    def said(what: str, place: int) -> str | None:
        row = labelled.get(_ABOVE[what], ([], 0))[0]
        return cells.text(row[place]) if place < len(row) else None

    runs: dict[str, AlignedRun] = {}
    for place in range(first, len(header)):
        if said("file_type", place) is None or cells.text(header[place]) is None:
            continue  # an average or a deviation over a class
        name = header[place]
        if name in runs:
            message = f"two runs are called '{name}'; a sheet could not tell them apart"
            raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
        about = {key: said(key, place) for key in _ABOVE}
        runs[name] = AlignedRun(
            column=name,
            place=place,
            class_name=about["class"],
            file_type=about["file_type"],
            injection_order=about["injection_order"],
            batch=about["batch"],
        )
    if not runs:
        raise RunError(Code.BAD_HEADER, "no column of a run: none has a file type", path=path, position=f"line {line}")
    return tuple(runs.values())
