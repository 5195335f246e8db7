"""The vertical average of ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID = np.linspace(0.0, 1.0, 101)  # false-positive rates at which folds are averaged (ours)


@dataclass(frozen=True)
class MeanCurve:
    """True-positive rate over `GRID`: mean and standard deviation over folds, each float64 [101]."""

    mean: np.ndarray
    sd: np.ndarray


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> MeanCurve:
    """Average the folds' true-positive rates at equal false-positive rates.

    `curves`: (false-positive rate, true-positive rate) of each fold, both rising from 0 to 1. The sd is the sample's
    (n - 1), and 0 for a single fold.
    """
    rates = np.stack([np.interp(GRID, fpr, tpr) for fpr, tpr in curves])
    rates[:, 0] = 0.0  # a curve may climb at a false-positive rate of 0, yet all start in the corner
    sd = rates.std(axis=0, ddof=1) if len(rates) > 1 else np.zeros_like(GRID)
    return MeanCurve(mean=rates.mean(axis=0), sd=sd)
