"""The numbers of the page: metrics over folds, predictions per accession, the confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

THRESHOLD = 0.5  # MS2toImg: one sigmoid unit, active from 0.5 upwards

#: Column of ``CvRecord.metrics`` -> what people call it.
METRIC_NAMES = {
    "roc_auc": "ROC AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}


@dataclass(frozen=True)
class MeanSd:
    """Mean and sample standard deviation (n - 1) over the folds where the metric is defined."""

    mean: float
    sd: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "undefined"
        return f"{self.mean:.3f} ± {self.sd:.3f}" if self.n > 1 else f"{self.mean:.3f} (one fold)"


def mean_sd(values: pd.Series) -> MeanSd:
    """Over the finite values; a fold whose metric is undefined is left out, not counted as 0."""
    finite = values.to_numpy(dtype=float)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return MeanSd(math.nan, math.nan, 0)
    sd = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return MeanSd(float(finite.mean()), sd, int(finite.size))


def metric_summary(metrics: pd.DataFrame, level: str) -> dict[str, MeanSd]:
    """Each metric's `MeanSd` at one level (``"accession"`` or ``"run"``)."""
    rows = metrics[metrics["level"] == level]
    return {name: mean_sd(rows[name]) for name in METRIC_NAMES}


@dataclass(frozen=True)
class Confusion:
    """Counts summed over folds, each sample in exactly one test fold; active is the positive class."""

    tn: int
    fp: int
    fn: int
    tp: int

    @property
    def n(self) -> int:
        """All samples."""
        return self.tn + self.fp + self.fn + self.tp

    @property
    def correct(self) -> int:
        """Samples on the diagonal."""
        return self.tn + self.tp

    @property
    def larger_class_share(self) -> float:
        """The accuracy of always naming the larger class."""
        return max(self.tp + self.fn, self.tn + self.fp) / self.n if self.n else math.nan


def confusion(metrics: pd.DataFrame, level: str) -> Confusion:
    """The confusion matrix of one level, summed over folds."""
    total = metrics.loc[metrics["level"] == level, ["tn", "fp", "fn", "tp"]].sum()
    return Confusion(**{key: int(total[key]) for key in ("tn", "fp", "fn", "tp")})


def per_accession(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row an accession, by rising assay value: mean, lowest and highest probability over its runs.

    Takes out-of-fold predictions or the unused runs; columns ``fold`` and ``target`` are carried where present. Adds
    ``runs`` and, where there is a target, ``predicted`` (1 or 0) and ``correct``.
    """
    carried = [name for name in ("fold", "value", "scaled", "target") if name in predictions]
    groups = predictions.groupby("accession", sort=True)
    table = groups[carried].first()
    table["runs"] = groups.size()
    table["probability"] = groups["probability"].mean()
    table["lowest"] = groups["probability"].min()
    table["highest"] = groups["probability"].max()
    table = table.reset_index().sort_values(["value", "accession"], kind="stable", ignore_index=True)
    if "target" in table:
        table["predicted"] = (table["probability"] >= THRESHOLD).astype(int)
        table["correct"] = table["predicted"] == table["target"]
    return table


def straddling(predictions: pd.DataFrame) -> list[str]:
    """Accessions with runs in more than one test fold: there should be none."""
    folds = predictions.groupby("accession")["fold"].nunique()
    return sorted(folds[folds > 1].index)


def fold_name(fold: int) -> str:
    """Folds are counted from 0 in tables and from 1 for people."""
    return f"fold {int(fold) + 1}"
