"""Outliers among replicates: named, and left out only where the user says so.

Dixon's Q compares three values with each other alone: of triplicates it names one set in twenty that is sound, often
one whose two other values happen to agree. Where there are enough sets, the replicate sd of the whole experiment is
known far better than that of any one set, and is what a value is measured by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Two-sided 95 % critical values of r10 = gap / range, by the number of values (Rorabacher, Anal. Chem. 63 (1991) 139).
DIXON_95 = {3: 0.970, 4: 0.829, 5: 0.710, 6: 0.625, 7: 0.568, 8: 0.526, 9: 0.493, 10: 0.466}
ROBUST_Z = 3.5  # Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993)
LEAST_VALUES = 3  # of two replicates neither is the outlier
RESOLUTION = 1e-6  # %: smaller differences are of the arithmetic, not of the wells (ours)
LEAST_SETS = 10  # of replicates, for a pooled sd (ours): at triplicates 20 degrees of freedom


def find_outliers(sets: Sequence[np.ndarray], test: str) -> tuple[list[int | None], str]:
    """The place of the outlier in each set of replicate values, None where there is none; and the test that was used.

    At most one a set. `test` is ``pooled``, ``dixon`` or ``auto``: pooled from `LEAST_SETS` sets of three or more on.
    """
    if test == "auto":
        test = "pooled" if sum(len(values) >= LEAST_VALUES for values in sets) >= LEAST_SETS else "dixon"
    if test == "dixon":
        return [_dixon(values) for values in sets], test
    sd = pooled_sd(sets)
    return [_far(values, sd) for values in sets], test


def dixon_q(values: np.ndarray) -> tuple[float, int]:
    """Dixon's Q (r10) of the most extreme value and its place; 0 where all values are equal, but for rounding."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    spread = float(ordered[-1] - ordered[0])
    low, high = float(ordered[1] - ordered[0]), float(ordered[-1] - ordered[-2])
    place = int(order[0] if low > high else order[-1])
    return (max(low, high) / spread if spread > RESOLUTION else 0.0), place


def pooled_sd(sets: Sequence[np.ndarray]) -> float:
    """The replicate sd over all sets of three or more; 0 without one.

    A first one is the median of theirs, which outliers in a few sets hardly move; the second is the usual pooled sd of
    the sets that hold no outlier by the first, and varies less.
    """
    replicates = [values for values in sets if len(values) >= LEAST_VALUES]
    if not replicates:
        return 0.0
    first = math.sqrt(np.median([_variance_by_median(values) for values in replicates]))
    sound = [values for values in replicates if _far(values, first) is None]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in sound)
    freedom = sum(len(values) - 1 for values in sound)
    return math.sqrt(squares / freedom) if freedom else first


def _variance_by_median(values: np.ndarray) -> float:
    """A set's variance over the median of chi-squared by its degrees of freedom (Wilson and Hilferty's cube root)."""
    return float(np.var(values, ddof=1)) / (1 - 2 / (9 * (len(values) - 1))) ** 3


def _dixon(values: np.ndarray) -> int | None:
    critical = DIXON_95.get(len(values))
    if critical is None:
        return None
    found, place = dixon_q(values)
    return place if found > critical else None


def _far(values: np.ndarray, sd: float) -> int | None:
    """The value farthest from the mean of the others, if by more than `ROBUST_Z` times what that distance varies by."""
    n = len(values)
    if n < LEAST_VALUES:
        return None
    distance = np.abs(values - values.mean()) * n / (n - 1)  # from the mean of the others
    place = int(distance.argmax())
    return place if distance[place] > max(ROBUST_Z * sd * math.sqrt(n / (n - 1)), RESOLUTION) else None
