"""The record of a cross-validation: all a report needs, in one folder of Parquet, JSON and plain arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file

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
SUMMARY_NAME = "summary.json"


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
        target.mkdir(parents=True, exist_ok=True)
        for name, columns in TABLES.items():
            table = typed(getattr(self, name), columns)
            with replace_file(target / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False)
        with replace_file(target / EXAMPLES_NAME) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                names=np.array(list(self.examples), dtype=np.str_),
                images=np.array(list(self.examples.values()), dtype=np.uint8),  # all of one size
            )
        with replace_file(target / SUMMARY_NAME) as temporary:
            text = json.dumps(_plain(self.summary), indent=2, sort_keys=True, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises `UsageError` naming the file that is missing, damaged or of another kind."""
        source = Path(folder)
        if not (source / SUMMARY_NAME).is_file():
            raise UsageError(f"{source}: no {SUMMARY_NAME} here; expected the record of a finished 'ms2img train'")
        place = source
        try:
            tables = {}
            for name, columns in TABLES.items():
                place = source / f"{name}.parquet"
                tables[name] = typed(pd.read_parquet(place), columns)
            place = source / EXAMPLES_NAME
            with np.load(place, allow_pickle=False) as stored:
                examples = dict(zip(stored["names"].tolist(), stored["images"], strict=True))
            place = source / SUMMARY_NAME
            summary = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:  # pyarrow's are ValueErrors
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UsageError(f"{place}: not part of a cross-validation record: {reason}") from None
        return cls(**tables, summary=summary, examples=examples)


def typed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """`table` with exactly these columns, in this order, of these types; `KeyError` naming an absent one."""
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise KeyError(f"no column '{absent[0]}' among {', '.join(map(str, table.columns))}")
    return table[list(columns)].astype(dict(columns)).reset_index(drop=True)


def _plain(value: Any) -> Any:
    """numpy scalars as Python's, tuples as lists, NaN and infinity as null: what JSON can say."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
