"""Points back to the spectra they were made of: which peak of which row each one is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.ms2toimg.intensities import Floats, list_lengths, precursor_intensity, shares, summed_msms
from ms2img.ms2toimg.points import Points
from ms2img.ms2toimg.render_config import RenderConfig

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DrawnPeaks:
    """Point i is peak `peak[i]` (from 0) of row `row[i]` of the spectra table."""

    row: Integers  # [n]
    peak: Integers  # [n]


def drawn_peaks(spectra: pa.Table, points: Points, config: RenderConfig, *, path: str) -> DrawnPeaks:
    """Find the peak behind each of `points`, which `points_from_spectra` made of `spectra` and `config`.

    Points do not name their spectrum, and two spectra may be alike to the last digit: the same rules are asked again.
    """
    row, peak, mz, intensity = flat_peaks(spectra)
    precursor_mz = spectra["precursor_mz"].to_numpy()[row]
    drawn = _above_cut(spectra, config, path)[row] & (intensity > 0)
    if not config.keep_above_precursor:
        drawn &= mz <= precursor_mz + config.precursor_tolerance
    for values, (low, high) in ((precursor_mz, config.precursor_mz), (mz, config.fragment_mz)):
        drawn &= (values >= low) & (values < high)
    if not (np.array_equal(precursor_mz[drawn], points.precursor_mz) and np.array_equal(mz[drawn], points.fragment_mz)):
        raise RuntimeError("the points are not those of these spectra and this config")
    return DrawnPeaks(row[drawn], peak[drawn])


def flat_peaks(spectra: pa.Table) -> tuple[Integers, Integers, Floats, Floats]:
    """All peaks of the table in its order: row, peak within the row, m/z and intensity, each [n]."""
    count = list_lengths(spectra["mz"])
    row = np.repeat(np.arange(spectra.num_rows), count)
    peak = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    mz = pc.list_flatten(spectra["mz"]).to_numpy()
    return row, peak, mz, pc.list_flatten(spectra["intensity"]).to_numpy().astype(np.float64)


def without_peaks(spectra: pa.Table, row: Iterable[int], peak: Iterable[int]) -> pa.Table:
    """The table with these peaks at intensity 0, which is no fragment; rows, order and precursors stay."""
    lists = [np.array(values, np.float32) for values in spectra["intensity"].to_pylist()]
    for each_row, each_peak in zip(row, peak, strict=True):
        lists[each_row][each_peak] = 0.0
    place = spectra.schema.get_field_index("intensity")
    return spectra.set_column(place, spectra.schema.field("intensity"), pa.array(lists, pa.list_(pa.float32())))


def _above_cut(spectra: pa.Table, config: RenderConfig, path: str) -> npt.NDArray[np.bool_]:
    """Whether a row is drawn, by intensity: bool [rows], as `points_from_spectra` decides it."""
    summed = summed_msms(spectra, path)
    intensity, _ = precursor_intensity(spectra, summed, config.missing_precursor_intensity, path)
    return (shares(intensity) > config.intensity_cut) & (summed > 0)
