"""The few statistics that quality control needs, in NumPy: robust z, rank correlation, trend, quantiles."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np

from ms2img.learn.distributions import beta_cdf

MAD_TO_SD = 1.4826  # of a normal distribution
EXACT_UP_TO = 8  # values up to which all orders are tried for p: 40,320 of them (ours)


def robust_z(values: np.ndarray, *, least_sd: float = 0.0) -> np.ndarray:
    """Distance from the median in units of the MAD (scaled to a normal distribution's sd), float64 like `values`.

    `least_sd` keeps values that are all but equal from making outliers of rounding errors. Zero where nothing varies.
    """
    if not values.size:
        return np.zeros(0)
    distance = values - np.median(values)
    sd = max(MAD_TO_SD * float(np.median(np.abs(distance))), least_sd)
    return distance / sd if sd > 0 else np.where(distance == 0, 0.0, np.copysign(np.inf, distance))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Rank correlation and its two-sided p; (nan, nan) where one side is constant or there are fewer than 3 values.

    p is exact, over all orders, for at most `EXACT_UP_TO` values, else by Student's t with n - 2 degrees of freedom.
    """
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    a, b = (each - each.mean() for each in (ranks(x), ranks(y)))
    norm = math.sqrt(float(a @ a) * float(b @ b))
    rho = float(a @ b) / norm
    if n <= EXACT_UP_TO:
        orders = np.array(list(itertools.permutations(range(n))))
        return rho, float(np.mean(np.abs(b[orders] @ a) / norm >= abs(rho) - 1e-12))
    return rho, beta_cdf(max(0.0, 1 - rho * rho), (n - 2) / 2, 0.5)


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the line through the median of all pairwise slopes; (nan, nan) without two different x.

    At most a few thousand values: memory is quadratic.
    """
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    slopes = (y[second] - y[first])[run != 0] / run[run != 0]
    if not slopes.size:
        return math.nan, math.nan
    slope = float(np.median(slopes))
    return slope, float(np.median(y)) - slope * float(np.median(x))


def chi2_quantile(p: float, degrees: float) -> float:
    """Quantile of the chi-squared distribution, by Wilson and Hilferty's cube: within 2 % from 3 degrees on."""
    spread = 2 / (9 * degrees)
    return degrees * max(0.0, 1 - spread + NormalDist().inv_cdf(p) * math.sqrt(spread)) ** 3
