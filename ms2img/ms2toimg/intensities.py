"""A run's precursor intensities: what the file says of them, or what its MS/MS says; and each one's share of the run.

Images and feature tables both start here, so that a spectrum below the intensity cut is below it in both.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError

Floats = npt.NDArray[np.float64]


def summed_msms(spectra: pa.Table, path: str) -> Floats:
    """The summed MS/MS intensity of each row, 0 for a row without a peak above 0, after all values were checked.

    Batch by batch, as the readers pack them: of a long run only the rows above the cut are ever laid flat as a whole.
    """
    sums = []
    for batch in spectra.select(["spectrum_id", "precursor_mz", "mz", "intensity"]).to_batches():
        part = pa.Table.from_batches([batch])
        count = list_lengths(part["mz"])
        differs = np.flatnonzero(count != list_lengths(part["intensity"]))
        if len(differs):
            message = f"{count[differs[0]]} fragment m/z, but another number of intensities"
            raise RunError(Code.BAD_VALUE, message, path=path, position=_position(part, differs[0]))
        row = np.repeat(np.arange(part.num_rows), count)
        intensity = pc.list_flatten(part["intensity"]).to_numpy()
        _require_numbers(part, "precursor m/z", part["precursor_mz"].to_numpy(), np.arange(part.num_rows), path)
        _require_numbers(part, "fragment m/z", pc.list_flatten(part["mz"]).to_numpy(), row, path)
        _require_numbers(part, "fragment intensity", intensity, row, path)
        sums.append(np.bincount(row, weights=intensity, minlength=part.num_rows).astype(np.float64))
    return np.concatenate(sums) if sums else np.zeros(0)


def precursor_intensity(spectra: pa.Table, summed: Floats, missing: str, path: str) -> tuple[Floats, str]:
    """One intensity a row, float64 [n], and where it comes from: "file" or "summed-msms".

    A single absent value moves the whole run to the summed MS/MS intensity: MS1 heights and MS/MS sums are different
    scales, and a run that mixed them would give its precursors sizes that do not compare. A row without MS/MS is never
    used, so its absent value counts as zero and decides nothing.

    `summed`: of `summed_msms`. `missing`: the option missing_precursor_intensity, "summed-msms" or "refuse".

    Raises `RunError` ``bad-value`` for an intensity that is negative or not finite, or absent under "refuse".
    """
    column = spectra["precursor_intensity"]
    absent = column.is_null().to_numpy()
    has_msms = summed > 0
    if not (absent & has_msms).any():
        intensity = pc.fill_null(column, 0.0).to_numpy()
        _require_numbers(spectra, "precursor intensity", intensity, np.arange(len(intensity)), path)
        return intensity, "file"
    if missing == "refuse":
        raise RunError(
            Code.BAD_VALUE,
            "no precursor intensity; give one, or set missing_precursor_intensity to summed-msms",
            path=path,
            position=_position(spectra, np.flatnonzero(absent & has_msms)[0]),
        )
    return summed, "summed-msms"


def shares(intensity: Floats) -> Floats:
    """Each row's part of the run's total, float64 [n]; zeros where the total is zero."""
    relative = intensity / (intensity.max() or 1.0)
    share: Floats = relative / (math.fsum(relative) or 1.0)  # fsum rounds once, so the same on any machine
    return share


def list_lengths(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """How many values each list of a column holds; 0 for an absent one."""
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def _require_numbers(spectra: pa.Table, what: str, values: Floats, row: npt.NDArray[np.int64], path: str) -> None:
    wrong = np.flatnonzero(~((values >= 0) & (values < np.inf)))
    if len(wrong):
        message = f"{what} is {values[wrong[0]]:g}; expected a number >= 0"
        raise RunError(Code.BAD_VALUE, message, path=path, position=_position(spectra, row[wrong[0]]))


def _position(spectra: pa.Table, row: int) -> str:
    return f"spectrum {spectra['spectrum_id'][int(row)]}"
