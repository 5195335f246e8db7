"""What is written into a run (parameters, curves, numbers, tags, inputs), in the batches that MLflow takes."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ms2img.tracking.catalogue import TAG_PREFIX
from ms2img.tracking.store import Store, StoreError, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Param

_METRICS_A_CALL = 1000  # limit of MLflow's log_batch
_PARAMS_A_CALL = 100  # limit of MLflow's log_batch
_PARAM_LENGTH = 500  # characters; the limit of older servers
_NO_CURVE = ("trial", "fold", "epoch")

Point = tuple[str, float, int]  # name, value, epoch


@dataclass(frozen=True)
class InputData:
    """What a run was computed from: a name, where it lies, and a content hash of at most 36 characters."""

    name: str
    source: str
    digest: str


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Log `values` as parameters; nested keys are joined by dots."""
    params = _params(flat(values))
    for start in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run_id, params=params[start : start + _PARAMS_A_CALL])


def log_points(client: MlflowClient, run_id: str, points: Iterable[Point]) -> None:
    """Log the points whose value is finite, all with the time of now."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [Metric(name, value, now, epoch) for name, value, epoch in points if math.isfinite(value)]
    for start in range(0, len(rows), _METRICS_A_CALL):
        client.log_batch(run_id, metrics=rows[start : start + _METRICS_A_CALL])


def log_inputs(client: MlflowClient, run_id: str, inputs: Sequence[InputData]) -> None:
    """Log what the run was computed from."""
    from mlflow.entities import Dataset, DatasetInput

    datasets = [
        DatasetInput(Dataset(each.name, each.digest, "local", json.dumps({"uri": each.source}))) for each in inputs
    ]
    if datasets:
        client.log_inputs(run_id, datasets)


def log_folder(store: Store, run_id: str, path: str, save: Callable[[Path], Any]) -> None:
    """Log what `save` writes into an empty folder as the artefact folder `path` of the run.

    Raises `StoreError` for whatever the artefact store raises: a local one, a server and S3 each have their own kinds.
    """
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        save(Path(scratch))
        try:
            store.client().log_artifacts(run_id, scratch, path)
        except Exception as error:
            raise StoreError(f"{store.shown()}: artefact '{path}': {first_line(error)}") from error


def curves(history: pd.DataFrame, prefix: str = "") -> list[Point]:
    """Every numeric column of a history but trial, fold and epoch, over its epochs."""
    names = [name for name in history.select_dtypes("number").columns if name not in _NO_CURVE]
    return [
        (f"{prefix}{name}", float(value), int(epoch))
        for name in names
        for epoch, value in zip(history["epoch"], history[name], strict=True)
    ]


def single_points(values: Mapping[str, Any]) -> list[Point]:
    """The numbers among `values`, each a curve of one point."""
    return [
        (key, float(value), 0)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to one level, keys joined by dots."""
    level: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            level.update(flat(value, f"{prefix}{key}."))
        else:
            level[f"{prefix}{key}"] = value
    return level


def tag_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """`values` as tags of ours."""
    return {f"{TAG_PREFIX}{key}": _text(value) for key, value in values.items()}


def set_tags(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Set ``ms2img.<key>`` tags of the run."""
    for key, value in tag_texts(values).items():
        client.set_tag(run_id, key, value)


def _params(values: Mapping[str, Any]) -> list[Param]:
    from mlflow.entities import Param

    return [Param(key, _text(value)[:_PARAM_LENGTH]) for key, value in values.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
