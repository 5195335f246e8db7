"""Spectra to points: where each fragment lies in the plane, how large and how bright it is.

The order is fixed (MS2toImg, "Conversion of LC-MS/MS data into 2D images"; what is not there is ours):

1. A precursor's intensity is divided by the run's total, over all rows, with or without MS/MS.
2. Rows whose share does not exceed the cut are dropped.
3. The intensities left are scaled to 0-1: the size of a point.
4. Fragments are divided by the largest of their own spectrum: the grey of a point. Impossible fragments (above their
   precursor) are dropped before, so that noise cannot dim a spectrum; those outside the axes are dropped after, so that
   the same fragment has the same grey whatever part of the plane is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError
from ms2img.io.schema import SPECTRA, require
from ms2img.ms2toimg.intensities import Floats, list_lengths, precursor_intensity, shares, summed_msms
from ms2img.ms2toimg.render_config import RenderConfig


@dataclass(frozen=True, eq=False)
class Points:
    """One point a fragment, in the order of the table (later ones are drawn over earlier ones), and what was dropped.

    ``n_without_msms + n_below_cut`` of ``n_spectra`` rows are not drawn; of the others' fragments ``n_fragments`` are
    drawn, ``n_impossible`` and ``n_outside`` are not. A peak of intensity zero is no fragment.
    """

    precursor_mz: Floats  # [n]
    fragment_mz: Floats  # [n]
    size: Floats  # [n], 0-1: precursor intensity
    grey: Floats  # [n], 0-1: fragment intensity within its spectrum
    n_spectra: int
    n_without_msms: int
    n_below_cut: int
    n_impossible: int
    n_outside: int
    ms1_source: str  # "file" | "summed-msms"

    @property
    def n_fragments(self) -> int:
        """Points drawn."""
        return len(self.precursor_mz)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """The list columns laid flat: one entry a fragment, `row` names its spectrum."""

    row: npt.NDArray[np.int64]
    mz: Floats
    intensity: Floats

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Peaks:
        return _Peaks(self.row[chosen], self.mz[chosen], self.intensity[chosen])


def points_from_spectra(spectra: pa.Table, config: RenderConfig, *, path: str) -> Points:
    """Choose and scale the points of one run.

    Parameters
    ----------
    spectra: the run's rows, schema `ms2img.io.schema.SPECTRA`.
    path: the run's file, for messages.

    Raises
    ------
    RunError: ``no-msms`` without any fragment, ``nothing-to-draw`` if none is left, ``bad-value`` for an m/z or
        intensity that is negative or not finite, or for an absent precursor intensity under the option ``refuse``.
    """
    require(spectra, SPECTRA, what="points_from_spectra")
    precursor_mz = spectra["precursor_mz"].to_numpy()
    summed = summed_msms(spectra, path)
    has_msms = summed > 0
    if not has_msms.any():
        raise RunError(Code.NO_MSMS, f"no MS/MS peaks in {spectra.num_rows} spectra", path=path)
    intensity, ms1_source = precursor_intensity(spectra, summed, config.missing_precursor_intensity, path)

    share = shares(intensity)
    above_cut = share > config.intensity_cut
    kept = above_cut & has_msms
    peaks = _flat_peaks(spectra, kept)
    n_kept_fragments = len(peaks.row)
    if not config.keep_above_precursor:
        peaks = peaks.only(peaks.mz <= precursor_mz[peaks.row] + config.precursor_tolerance)
    n_possible = len(peaks.row)
    brightest = np.zeros(spectra.num_rows)
    np.maximum.at(brightest, peaks.row, peaks.intensity)
    grey = peaks.intensity / brightest[peaks.row]

    inside = _within(precursor_mz[peaks.row], config.precursor_mz) & _within(peaks.mz, config.fragment_mz)
    row = peaks.row[inside]
    n_below_cut = int(np.count_nonzero(has_msms & ~above_cut))
    n_impossible = n_kept_fragments - n_possible
    n_outside = n_possible - len(row)
    if len(row) == 0:
        # Shares sum to 1: of tens of thousands of scans, each may be below the cut.
        remedy = "" if kept.any() else "; merge repeated scans (merge_mz) or lower intensity_cut"
        raise RunError(
            Code.NOTHING_TO_DRAW,
            f"no fragment left to draw: {n_below_cut} spectra below the intensity cut, {n_impossible} fragments above "
            f"their precursor, {n_outside} outside the axes{remedy}",
            path=path,
        )
    return Points(
        precursor_mz=precursor_mz[row],
        fragment_mz=peaks.mz[inside],
        size=_scaled(share, above_cut, config.scale)[row],
        grey=grey[inside],
        n_spectra=spectra.num_rows,
        n_without_msms=int(np.count_nonzero(~has_msms)),
        n_below_cut=n_below_cut,
        n_impossible=n_impossible,
        n_outside=n_outside,
        ms1_source=ms1_source,
    )


def grey_levels(grey: Floats) -> npt.NDArray[np.uint8]:
    """Grey 0-1 as the 256 levels of an image, rounded half up."""
    return np.floor(grey * 255 + 0.5).astype(np.uint8)


def _flat_peaks(spectra: pa.Table, kept: npt.NDArray[np.bool_]) -> _Peaks:
    """The peaks above 0 of the kept rows."""
    rows = spectra.select(["mz", "intensity"]).filter(pa.array(kept))
    row = np.repeat(np.flatnonzero(kept), list_lengths(rows["mz"]))
    mz = pc.list_flatten(rows["mz"]).to_numpy()
    intensity = pc.list_flatten(rows["intensity"]).to_numpy().astype(np.float64)
    return _Peaks(row, mz, intensity).only(intensity > 0)


def _scaled(share: Floats, above_cut: npt.NDArray[np.bool_], scale: str) -> Floats:
    """Shares to 0-1 over the rows above the cut, with or without MS/MS (other rows: not used)."""
    high = share[above_cut].max()
    low = share[above_cut].min() if scale == "minmax" else 0.0
    # minmax of equal values: all are the largest
    return (share - low) / (high - low) if high > low else np.ones_like(share)


def _within(values: Floats, axis: tuple[float, float]) -> npt.NDArray[np.bool_]:
    return (values >= axis[0]) & (values < axis[1])
