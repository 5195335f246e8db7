"""The numbers of the page: metrics over folds, predictions per accession, the confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

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

    @property
    def mean_text(self) -> str:
        """The mean to three decimals."""
        return f"{self.mean:.3f}" if self.n else "undefined"

    @property
    def sd_text(self) -> str:
        """The standard deviation to three decimals; empty where one fold gives none."""
        return f"{self.sd:.3f}" if self.n > 1 else ""

    def __str__(self) -> str:
        return "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}".join(filter(None, (self.mean_text, self.sd_text)))


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


def per_accession(predictions: pd.DataFrame, cut: float) -> pd.DataFrame:
    """One row an accession, by rising assay value: mean, lowest and highest probability over its runs.

    Takes out-of-fold predictions or the unused runs; ``fold`` and ``target`` are carried where present. Adds ``runs``,
    ``lowest`` and ``highest`` probability of a run, and ``predicted``: 1 from a mean of `cut` upwards, else 0.
    """
    carried = [name for name in ("fold", "value", "scaled", "target") if name in predictions]
    groups = predictions.groupby("accession", sort=True)
    table = groups[carried].first()
    table["runs"] = groups.size()
    table["probability"] = groups["probability"].mean()
    table["lowest"] = groups["probability"].min()
    table["highest"] = groups["probability"].max()
    table = table.reset_index().sort_values(["value", "accession"], kind="stable", ignore_index=True)
    table["predicted"] = (table["probability"] >= cut).astype(int)
    return table


def fold_rows(metrics: pd.DataFrame, history: pd.DataFrame) -> list[dict[str, Any]]:
    """The metrics table with each fold's best epoch, accession level first."""
    best = history[history["is_best"]].set_index("fold")["epoch"]
    rows = rows_of(metrics.sort_values(["level", "fold"]))
    return [{**row, "best_epoch": int(best[row["fold"]])} for row in rows]


def folds_cut_short(history: pd.DataFrame) -> int:
    """Folds whose best epoch by validation is their last one; where nothing was set aside for it there is no best."""
    last = history.groupby("fold")["epoch"].transform("max")
    return int((history["is_best"] & (history["epoch"] == last) & history["validation_loss"].notna()).sum())


def straddling(predictions: pd.DataFrame) -> list[str]:
    """Accessions with runs in more than one test fold: there should be none."""
    folds = predictions.groupby("accession")["fold"].nunique()
    return sorted(folds[folds > 1].index)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain mappings by column name."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def fold_name(fold: Any) -> str:
    """Folds are counted from 0 in tables and from 1 for people."""
    return f"fold {int(fold) + 1}"
