"""The record of a study: all its report needs, in one folder of Parquet and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from ms2img.ms2toimg.record import METRICS as CV_METRICS
from ms2img.ms2toimg.record import PREDICTIONS as CV_PREDICTIONS
from ms2img.ms2toimg.record_folder import read_summary, read_tables, require_record, write_summary, write_tables

#: Columns of each table, in order, with their types.
CELLS = {
    "cell": "str",
    "task": "str",
    "data": "str",
    "assay": "str",
    "representation": "str",  # "image" | "cosine" | "entropy" | "aligned" | "memo"
    "resolution": "str",  # height x width in pixels; empty where there are no images
    "model": "str",
    "seed": "int64",
    "status": "str",  # "done" | "not run" | "failed"
    "reason": "str",  # why it failed
    "seconds": "float64",  # of all folds; NaN where it is not done
}
#: Out-of-fold; condition "" are the runs of the data set that was trained on.
PREDICTIONS = {"cell": "str", "condition": "str", **CV_PREDICTIONS}
METRICS = {"cell": "str", "condition": "str", **CV_METRICS}
#: A row fold x epoch of every network; NaN where there is no validation part.
HISTORY = {
    "cell": "str",
    "fold": "int64",
    "epoch": "int64",
    "train_loss": "float64",
    "train_accuracy": "float64",
    "validation_loss": "float64",
    "validation_accuracy": "float64",
    "validation_auc": "float64",
    "is_best": "bool",
}
#: All labelled runs in a model of all labelled runs: descriptive, nothing is held out.
SCORES = {
    "task": "str",
    "representation": "str",
    "method": "str",  # "pca": x, y are PC1, PC2; "oplsda": the predictive and the first orthogonal score
    "sample_id": "str",
    "accession": "str",
    "target": "int64",
    "x": "float64",
    "y": "float64",
}
MULTIVARIATE = {
    "task": "str",
    "representation": "str",
    "method": "str",
    "x_explained": "float64",  # share of the table's variance along each axis of the scores
    "y_explained": "float64",
    "r2x": "float64",
    "r2y": "float64",
    "q2y": "float64",  # 7-fold
    "orthogonal": "float64",  # components; NaN for PCA
    "p_r2y": "float64",
    "p_q2y": "float64",
    "permutations": "float64",
    "q2y_permuted": "object",  # list of float64
}
#: Two models of one task over the same folds.
COMPARISONS = {
    "task": "str",
    "metric": "str",  # "roc_auc" | "accuracy", per accession
    "a": "str",
    "b": "str",
    "mean_a": "float64",
    "mean_b": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "t": "float64",
    "df": "float64",
    "p": "float64",  # corrected resampled t-test
    "p_holm": "float64",
    "folds": "int64",
    "seeds": "int64",
}

TABLES = {
    "cells": CELLS,
    "predictions": PREDICTIONS,
    "metrics": METRICS,
    "history": HISTORY,
    "scores": SCORES,
    "multivariate": MULTIVARIATE,
    "comparisons": COMPARISONS,
}
KIND = "study"
DONE, NOT_RUN, FAILED = "done", "not run", "failed"


@dataclass(frozen=True, eq=False)
class StudyRecord:
    """A study as far as it was run; the tables have the columns above.

    `summary`: name, created, simulated, seconds, versions, folds, seeds, main_task, cells (counts by status), ``tasks``
    (name -> assay, data, samples, simulated, low, high, active, counts), ``conditions`` (name -> kind, level, data) and
    config.
    """

    cells: pd.DataFrame
    predictions: pd.DataFrame
    metrics: pd.DataFrame
    history: pd.DataFrame
    scores: pd.DataFrame
    multivariate: pd.DataFrame
    comparisons: pd.DataFrame
    summary: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write the record into `folder` (made if absent), the summary last: with it the record is complete."""
        write_tables(Path(folder), vars(self), TABLES)
        write_summary(Path(folder), self.summary)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises `UsageError` naming the file that is missing, damaged or of another kind."""
        source = Path(folder)
        require_record(source, "ms2img study")
        return cls(**read_tables(source, TABLES, KIND), summary=read_summary(source, KIND))
