"""Collision energy against where a spectrum's peaks lie (MassFormer, section 4.6; Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_STEPS = 20  # of energy on the curve, each with about as many spectra (ours)


@dataclass(frozen=True)
class EnergyCurve:
    """Mean peak m/z at rising energies, one entry a step: its energy, the median and the quartiles, the spectra."""

    energy: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]


def mean_mz(spectra: NDArray[np.float32], *, bin_width: float) -> NDArray[np.float64]:
    """The mean m/z of each spectrum's peaks, weighted by their relative intensity: [n]; NaN of an empty spectrum.

    spectra: untransformed [n, bins]; a peak lies in the middle of its bin (Da). The released code weights by the
    transformed intensity and takes the bin's lower edge; the paper's words are followed here.
    """
    middle = (np.arange(spectra.shape[1]) + 0.5) * bin_width
    total = spectra.sum(axis=1, dtype=np.float64)
    weighted = spectra.astype(np.float64) @ middle
    return np.divide(weighted, total, out=np.full(len(spectra), np.nan), where=total > 0)


def energy_curve(energy: NDArray[np.float64], value: NDArray[np.float64], *, n_steps: int = N_STEPS) -> EnergyCurve:
    """Median and quartiles of `value` [n] over steps of `energy` [n] that hold about equally many; equal ones together.

    Spectra without an energy or a value are left out.
    """
    known = np.isfinite(energy) & np.isfinite(value)
    energy, value = energy[known], value[known]
    edges = np.unique(np.quantile(energy, np.linspace(0, 1, n_steps + 1))) if len(energy) else np.empty(0)
    step = np.searchsorted(edges[1:-1], energy, side="right")
    rows = [np.flatnonzero(step == each) for each in np.unique(step)]
    quartiles = np.array([np.quantile(value[each], [0.25, 0.5, 0.75]) for each in rows]).reshape(-1, 3)
    return EnergyCurve(
        energy=np.array([energy[each].mean() for each in rows]),
        median=quartiles[:, 1],
        low=quartiles[:, 0],
        high=quartiles[:, 2],
        n=np.array([len(each) for each in rows], dtype=np.int64),
    )


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, over the pairs that are both known; NaN of fewer than three, or where one never changes."""
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3:
        return float("nan")
    one, other = _mean_ranks(first[known]), _mean_ranks(second[known])
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, equals sharing their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]
