"""The record of a cross-validation: all a report needs, in one folder of Parquet, JSON and plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ms2img.io.atomic import replace_file
from ms2img.ms2toimg.record_folder import (
    read_summary,
    read_tables,
    require_record,
    told_as_damage,
    write_summary,
    write_tables,
)

#: Columns of each table, in order, with their types.
PREDICTIONS = {
    "sample_id": "str",
    "accession": "str",
    "fold": "int64",
    "value": "float64",  # accession mean, the assay's unit
    "scaled": "float64",  # 0-1
    "target": "int64",
    "probability": "float64",  # of being active, by the fold that did not train on the accession
}
HISTORY = {
    "fold": "int64",
    "epoch": "int64",
    "train_loss": "float64",
    "validation_loss": "float64",
    "validation_accuracy": "float64",
    "validation_auc": "float64",
    "is_best": "bool",
}
METRICS = {
    "fold": "int64",
    "level": "str",  # "accession" | "run"
    "n": "int64",
    "accuracy": "float64",
    "precision": "float64",
    "recall": "float64",
    "f1": "float64",
    "roc_auc": "float64",
    "tn": "int64",
    "fp": "int64",
    "fn": "int64",
    "tp": "int64",
}
UNUSED = {"sample_id": "str", "accession": "str", "value": "float64", "scaled": "float64", "probability": "float64"}

TABLES = {"predictions": PREDICTIONS, "history": HISTORY, "metrics": METRICS, "unused": UNUSED}
EXAMPLES_NAME = "examples.npz"
KIND = "cross-validation"


@dataclass(frozen=True, eq=False)
class CvRecord:
    """A finished cross-validation.

    `predictions`: a row a labelled run, out of fold. `history`: a row fold x epoch. `metrics`: a row fold x level.
    `unused`: runs between the classes, scored by the refitted model; may be empty. `summary`: everything else, ready
    for JSON (NaN included: it is stored as null). `examples`: sample_id -> uint8 [H, W], described in
    ``summary["examples"]``.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    metrics: pd.DataFrame
    unused: pd.DataFrame
    summary: dict[str, Any]
    examples: dict[str, np.ndarray]

    def save(self, folder: str | Path) -> None:
        """Write the record into `folder` (made if absent), the summary last: with it the record is complete."""
        target = Path(folder)
        write_tables(target, vars(self), TABLES)
        with replace_file(target / EXAMPLES_NAME) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                names=np.array(list(self.examples), dtype=np.str_),
                images=np.array(list(self.examples.values()), dtype=np.uint8),  # all of one size
            )
        write_summary(target, self.summary)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises `UsageError` naming the file that is missing, damaged or of another kind."""
        source = Path(folder)
        require_record(source, "ms2img train")
        tables = read_tables(source, TABLES, KIND)
        path = source / EXAMPLES_NAME
        with told_as_damage(path, KIND), np.load(path, allow_pickle=False) as stored:
            examples = dict(zip(stored["names"].tolist(), stored["images"], strict=True))
        return cls(**tables, summary=read_summary(source, KIND), examples=examples)
