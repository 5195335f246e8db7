"""What a mean over molecules is worth: bootstrap intervals, and differences between models over the same molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000  # ours: the ends of a 95 % interval then stand within some thousandths
CONFIDENCE = 0.95
BLOCK = 2**22  # drawn indices at a time


@dataclass(frozen=True)
class Interval:
    """A mean over `n` molecules and the ends of its 95 % interval; NaN where there are none."""

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


def bootstrap_mean(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> Interval:
    """The mean of [m] values and its percentile interval over resampled molecules; equal input, equal answer."""
    given = np.asarray(values, dtype=np.float64)
    if len(given) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    random = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    done = 0
    while done < RESAMPLES:
        rows = min(RESAMPLES - done, max(1, BLOCK // len(given)))
        means.append(given[random.integers(0, len(given), (rows, len(given)))].mean(axis=1))
        done += rows
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(given.mean()), float(low), float(high), len(given))


def paired_difference(first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0) -> Interval:
    """Mean of first - second over the molecules that both have, with its interval."""
    shared = sorted(first.keys() & second.keys())
    return bootstrap_mean([first[name] - second[name] for name in shared], seed=seed)


def mean_over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of every molecule that all runs have, the mean of its scores: what is left of chance in training averages out."""
    shared = set(runs[0]).intersection(*runs[1:]) if runs else set()
    return {name: float(np.mean([run[name] for run in runs])) for name in sorted(shared)}
