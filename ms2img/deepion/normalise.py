"""Intensities to images of 0-1: total ion count, hot spots, minimum and maximum (DeepION, section 2.2, equation 1).

All functions take one row an ion and one column a measured pixel, float64 [ions, pixels]; missing pixels are not among
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2img.deepion.prepare_settings import PrepareSettings


@dataclass(frozen=True, eq=False)
class Kept:
    """The ions that have an image: `rows` int64 [k], ascending, of those that were asked for.

    presence: float64 [k], share of the pixels with signal. intensity: float64 [k], mean over all pixels once these are
    normalised, before the ion's own scaling: what "brighter" means between ions. values: float64 [k, pixels] in 0-1.
    n_rare, n_flat: how many ions were left out, as in too few pixels or of one value everywhere.
    """

    rows: np.ndarray
    presence: np.ndarray
    intensity: np.ndarray
    values: np.ndarray
    n_rare: int
    n_flat: int


def kept(intensity: np.ndarray, tic: np.ndarray, settings: PrepareSettings) -> Kept:
    """Filter and normalise ions as the settings have it. tic: float64 [pixels]."""
    seen = presence(intensity)
    common = np.flatnonzero((seen >= settings.min_presence) & (seen > 0))
    even = by_tic(intensity[common], tic) if settings.pixel_norm == "tic" else intensity[common]
    values, flat = scaled(even, settings)
    rows = common[~flat]
    mean = even[~flat].sum(axis=1) / max(1, even.shape[1])
    return Kept(rows, seen[rows], mean, values[~flat], len(seen) - len(common), len(common) - len(rows))


def presence(intensity: np.ndarray) -> np.ndarray:
    """The share of pixels, float64 [ions], in which each ion has signal."""
    return (intensity > 0).mean(axis=1) if intensity.shape[1] else np.zeros(len(intensity))


def by_tic(intensity: np.ndarray, tic: np.ndarray) -> np.ndarray:
    """Every pixel over its total ion count (float64 [pixels]); a pixel without any signal stays 0."""
    return np.divide(intensity, tic, out=np.zeros_like(intensity), where=tic > 0)


def cap_by_quantile(intensity: np.ndarray, level: float) -> np.ndarray:
    """Each ion capped at the `level` quantile (linear between values) of the pixels in which it has signal.

    Pixels without signal are left out (ours, as in METASPACE): of an ion in fewer than 1 % of them, the 99 % quantile
    of all is 0.
    """
    caps = [np.quantile(row[row > 0], level) if (row > 0).any() else 0.0 for row in intensity]
    return np.minimum(intensity, np.array(caps).reshape(-1, 1))


def cap_by_fraction(intensity: np.ndarray, level: float) -> np.ndarray:
    """Each ion capped at `level` times its maximum: "higher than 99% maximum intensity", read to the letter."""
    return np.minimum(intensity, level * intensity.max(axis=1, initial=0.0, keepdims=True))


def min_max(intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each ion on 0-1 by its least and greatest pixel (equation 1), and which ions are flat, bool [ions].

    A flat ion, of one value everywhere, has no image: equation 1 would divide by 0. Its values come out as 0.
    """
    low = intensity.min(axis=1, initial=np.inf, keepdims=True)
    span = intensity.max(axis=1, initial=-np.inf, keepdims=True) - low
    scaled = np.divide(intensity - low, span, out=np.zeros_like(intensity), where=span > 0)
    return scaled, ~(span[:, 0] > 0)


def scaled(intensity: np.ndarray, settings: PrepareSettings) -> tuple[np.ndarray, np.ndarray]:
    """Each ion on 0-1, its hot spots capped as the settings have it, and which ions are flat, bool [ions]."""
    if settings.hotspots == "quantile":
        intensity = cap_by_quantile(intensity, settings.hotspot_level)
    elif settings.hotspots == "max-fraction":
        intensity = cap_by_fraction(intensity, settings.hotspot_level)
    return min_max(intensity)
