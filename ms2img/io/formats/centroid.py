"""Profile spectra to centroids: local maxima, each with the apex of a Gaussian through its three highest points."""

from __future__ import annotations

import numpy as np

from ms2img.io.formats.scan import Floats

HALF_WINDOW = 2  # points (ours): a maximum is above two on each side, so that one noisy point makes no second peak
MAX_STEP = 0.2  # m/z (ours): points further apart are of different peaks; the coarsest instruments sample every 0.1


def centroid(mz: Floats, intensity: Floats) -> tuple[Floats, Floats]:
    """The peaks of one profile spectrum: m/z of each apex and the highest intensity measured there.

    A point is a peak if its intensity is above 0 and none within `HALF_WINDOW` points is higher; of equals the first.
    Points more than `MAX_STEP` apart are no neighbours, so that a list of centroids that is wrongly called a profile
    comes out as it was. A peak's m/z is the apex of the Gaussian through it and its two neighbours, its own where it
    lacks one. `mz` need not be sorted; all values are finite.
    """
    order = np.argsort(mz, kind="stable")
    mz, intensity = mz[order], intensity[order]
    stretch = np.concatenate(([0], np.cumsum(np.diff(mz) > MAX_STEP))) if len(mz) else np.empty(0)
    apex = np.flatnonzero(_is_maximum(intensity, stretch))
    return _apex_mz(mz, intensity, stretch, apex), intensity[apex]


def _is_maximum(intensity: Floats, stretch: np.ndarray) -> np.ndarray:
    highest = intensity > 0
    for shift in range(1, min(HALF_WINDOW, len(intensity) - 1) + 1):
        apart = stretch[shift:] != stretch[:-shift]
        highest[shift:] &= apart | (intensity[shift:] > intensity[:-shift])
        highest[:-shift] &= apart | (intensity[:-shift] >= intensity[shift:])
    return highest


def _apex_mz(mz: Floats, intensity: Floats, stretch: np.ndarray, apex: np.ndarray) -> Floats:
    found = mz[apex].copy()
    inner = (apex > 0) & (apex < len(mz) - 1)
    at = apex[inner]
    left, right = mz[at] - mz[at - 1], mz[at + 1] - mz[at]
    usable = (stretch[at - 1] == stretch[at + 1]) & (intensity[at - 1] > 0) & (intensity[at + 1] > 0)
    usable &= (left > 0) & (right > 0)
    at, left, right = at[usable], left[usable], right[usable]
    with np.errstate(all="ignore"):  # steps next to nothing overflow, and move nothing
        # Parabola through the logarithms at -left, 0, right: slope * x + bend * x^2.
        fall_left = np.log(intensity[at - 1] / intensity[at])
        fall_right = np.log(intensity[at + 1] / intensity[at])
        bend = (fall_left / left + fall_right / right) / (left + right)
        shift = -(fall_right / right - bend * right) / (2 * bend)
    shift = np.where((bend < 0) & np.isfinite(shift), shift, 0.0)
    places = np.flatnonzero(inner)[usable]
    found[places] += np.clip(shift, -left / 2, right / 2)
    return found
