"""Paired comparison of two models over the folds of a repeated cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms2img.learn.distributions import t_bound, t_two_sided

CONFIDENCE = 0.95
ROUNDING = 1e-12  # differences of metrics (0-1) nearer to each other than this are equal (ours)


@dataclass(frozen=True)
class Comparison:
    """Two models' metric over the same folds; what cannot be said is NaN.

    `low` and `high` bound the 95 % interval of the difference; `p` is two-sided. `t`, `p`, `low` and `high` are NaN
    where there are fewer than two folds, or where the difference is the same in every fold: without spread there is
    nothing to judge it by.
    """

    mean_a: float
    mean_b: float
    difference: float  # mean_a - mean_b
    low: float
    high: float
    t: float
    df: int
    p: float
    n: int  # folds in which both metrics are defined


def corrected_resampled_t(a: np.ndarray, b: np.ndarray, *, test_to_train: float) -> Comparison:
    """The corrected resampled t-test on one metric of two models, float64 [k r] over r repetitions of k folds.

    The training sets of the folds overlap, so the differences are not independent and the plain paired t-test finds
    differences where there are none. Nadeau & Bengio ("Inference for the generalization error", Machine Learning 52,
    2003) widen the variance of the mean from s^2 / n to s^2 (1 / n + n_test / n_train); Bouckaert & Frank ("Evaluating
    the replicability of significance tests", PAKDD 2004) take n = k r and k r - 1 degrees of freedom for repeated
    cross-validation. At `test_to_train` 0 this is the plain test.

    A fold in which either metric is NaN is left out of both. Raises `ValueError` for shapes that differ or a negative
    ratio.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"metrics {first.shape} and {second.shape} should be vectors of one length")
    if not test_to_train >= 0:
        raise ValueError(f"test_to_train {test_to_train} should be the ratio of two sizes")
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    n = int(both.sum())
    mean_a, mean_b = (float(metric.mean()) if n else math.nan for metric in (first, second))
    apart, difference, df = first - second, mean_a - mean_b, max(n - 1, 0)
    if n < 2 or np.ptp(apart) <= ROUNDING:
        return Comparison(mean_a, mean_b, difference, math.nan, math.nan, math.nan, df, math.nan, n)
    error = math.sqrt(float(apart.var(ddof=1)) * (1 / n + test_to_train))
    half = t_bound(CONFIDENCE, df) * error
    t = difference / error
    return Comparison(mean_a, mean_b, difference, difference - half, difference + half, t, df, t_two_sided(t, df), n)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values corrected for their number by Holm's step-down method (Scand. J. Statist. 6, 1979), float64 [n].

    At most 5 % of families then hold a value below 0.05 by chance, whatever their dependence. NaN stays NaN and is not
    counted.
    """
    values = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(values))
    rising = tested[np.argsort(values[tested], kind="stable")]
    stepped = values[rising] * np.arange(len(rising), 0, -1)
    corrected = np.full(values.shape, math.nan)
    corrected[rising] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected
