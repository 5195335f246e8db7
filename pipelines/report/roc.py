"""ROC curves: one a fold, and their vertical average."""

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


def roc_curve(target: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """False- and true-positive rates as the threshold falls, from (0, 0) to (1, 1); None where a class is missing.

    `target` is 1 or 0 [n], `probability` float [n]. Equal probabilities are passed in one step.
    """
    positives, negatives = int(np.sum(target == 1)), int(np.sum(target == 0))
    if not positives or not negatives:
        return None
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(target[order] == 1)
    false_alarms = np.cumsum(target[order] == 0)
    last_of_equals = np.append(np.diff(probability[order]) != 0, True)
    tpr = np.concatenate([[0.0], hits[last_of_equals] / positives])
    fpr = np.concatenate([[0.0], false_alarms[last_of_equals] / negatives])
    return fpr, tpr


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> MeanCurve:
    """Vertical average: every fold's true-positive rate at the same false-positive rates, then mean and sd.

    The sd is the sample's (n - 1); it is 0 for a single fold.
    """
    rates = np.stack([np.interp(GRID, fpr, tpr) for fpr, tpr in curves])
    rates[:, 0] = 0.0  # a curve may climb at a false-positive rate of 0; all start in the corner
    sd = rates.std(axis=0, ddof=1) if len(rates) > 1 else np.zeros_like(GRID)
    return MeanCurve(mean=rates.mean(axis=0), sd=sd)
