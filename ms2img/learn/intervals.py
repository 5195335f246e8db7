"""What a mean over examples is worth: percentile intervals of the bootstrap. Equal input, equal answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000  # ours: the ends of a 95 % interval then stand within some thousandths
CONFIDENCE = 0.95
BLOCK = 2**22  # drawn indices at a time

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` examples and the ends of its 95 % interval; NaN where there are none."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def is_apart_from_zero(self) -> bool:
        """Whether the interval leaves out 0: of a difference, whether there is one."""
        return self.low > 0 or self.high < 0


def bootstrap_mean(values: Sequence[float] | Floats, *, seed: int = 0) -> Interval:
    """The mean of [m] values and its interval over resampled examples."""
    given = np.asarray(values, dtype=np.float64)
    if len(given) == 0:
        return _NOTHING
    return _interval(float(given.mean()), lambda rows: given[rows].mean(axis=1), len(given), seed)


def bootstrap_ratio(above: Sequence[float] | Floats, below: Sequence[float] | Floats, *, seed: int = 0) -> Interval:
    """The sum of `above` over that of `below`, each [m], and its interval over resampled examples.

    NaN where the denominator is 0; draws in which it is are left out. Raises `ValueError` for shapes that differ.
    """
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(f"numerators {top.shape} and denominators {bottom.shape} should be vectors of one length")
    if not bottom.sum():
        return _NOTHING

    def ratios(rows: Integers) -> Floats:
        under = bottom[rows].sum(axis=1)
        drawn: Floats = top[rows].sum(axis=1)[under > 0] / under[under > 0]
        return drawn

    return _interval(float(top.sum() / bottom.sum()), ratios, len(top), seed)


_NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0)


def _interval(mean: float, statistic: Callable[[Integers], Floats], n: int, seed: int) -> Interval:
    """statistic: of drawn examples [draws, n], a number a draw."""
    random = np.random.default_rng(seed)
    drawn: list[Floats] = []
    done = 0
    while done < RESAMPLES:
        draws = min(RESAMPLES - done, max(1, BLOCK // n))
        drawn.append(statistic(random.integers(0, n, (draws, n))))
        done += draws
    low, high = np.quantile(np.concatenate(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean, float(low), float(high), n)
