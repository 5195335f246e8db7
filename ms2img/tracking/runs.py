"""One cross-validation in the store: a parent run, a child run a fold, and the record a report is made of."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import yaml

from ms2img import __version__
from ms2img.errors import UsageError
from ms2img.tracking.store import Store, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

RECORD_PATH = "record"  # artifact folder of the cross-validation record
FIGURES_PATH = "figures"
CONFIG_NAME = "config.yaml"
TAG_PREFIX = "ms2img."
_METRICS_A_CALL = 1000  # limit of MLflow's log_batch
_PARAMS_A_CALL = 100  # limit of MLflow's log_batch
_PARAM_LENGTH = 500  # characters; the limit of older servers
_NO_CURVE = ("fold", "epoch")


class Record(Protocol):
    """What is logged of a finished cross-validation; `ms2img.ms2toimg.record.CvRecord` is one."""

    @property
    def history(self) -> pd.DataFrame:
        """One row fold x epoch."""

    @property
    def metrics(self) -> pd.DataFrame:
        """One row fold x level ("accession" | "run")."""

    @property
    def summary(self) -> dict[str, Any]:
        """Means and standard deviations over the folds, among much else."""

    def save(self, folder: str | Path) -> Any:
        """Write the record's files into `folder`."""


@dataclass(frozen=True)
class InputData:
    """What a run was computed from: a name, where it lies, and a content hash of at most 36 characters."""

    name: str
    source: str
    digest: str


@dataclass
class TrackedRun:
    """The parent run of a cross-validation; made by `track_cross_validation`."""

    store: Store
    run_id: str
    experiment_id: str
    _logged_folds: set[int] = field(default_factory=set)

    @property
    def client(self) -> MlflowClient:
        """A client of the run's store."""
        return self.store.client()

    def log_fold(self, fold: int, history: pd.DataFrame, metrics: pd.DataFrame) -> str:
        """Log one finished fold as a child run; return its id.

        history: rows of this fold; every numeric column but fold and epoch becomes a curve over epochs.
        metrics: rows of this fold, one a level; a measure becomes ``<level>_<measure>``.
        """
        with self.store.reporting():
            client = self.client
            child = client.create_run(
                self.experiment_id, run_name=f"fold {fold}", tags={"mlflow.parentRunId": self.run_id}
            ).info.run_id
            client.log_batch(child, params=_params({"fold": fold}))
            _log_metrics(client, child, [*_curves(history), *_fold_metrics(metrics)])
            client.set_terminated(child, "FINISHED")
        self._logged_folds.add(fold)
        return str(child)

    def log_record(self, record: Record) -> None:
        """Log a whole cross-validation: the folds not logged yet, the summary's numbers, and the record's files."""
        for fold in sorted(set(record.metrics["fold"])):
            if int(fold) not in self._logged_folds:
                self.log_fold(
                    int(fold),
                    record.history[record.history["fold"] == fold],
                    record.metrics[record.metrics["fold"] == fold],
                )
        now = _now()
        numbers = [(key, value, 0, now) for key, value in _numbers(record.summary).items()]
        with self.store.reporting(), tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
            _log_metrics(self.client, self.run_id, numbers)
            record.save(Path(scratch) / RECORD_PATH)
            self.client.log_artifacts(self.run_id, str(Path(scratch) / RECORD_PATH), RECORD_PATH)

    def log_figure(self, path: str | Path) -> None:
        """Keep a picture or page with the run, below ``figures``."""
        with self.store.reporting():
            self.client.log_artifact(self.run_id, str(path), FIGURES_PATH)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set ``ms2img.<key>`` tags of the run."""
        with self.store.reporting():
            for key, value in _tags(tags).items():
                self.client.set_tag(self.run_id, key, value)


@contextmanager
def track_cross_validation(
    store: Store,
    *,
    name: str,
    config: Mapping[str, Any],
    tags: Mapping[str, Any],
    inputs: Sequence[InputData] = (),
) -> Iterator[TrackedRun]:
    """Open the parent run of a cross-validation for the length of the block.

    The run ends as FINISHED; as KILLED when the block is interrupted; as FAILED, with the reason in the tag
    ``ms2img.error``, on any other exception, which goes on to the caller.

    Parameters
    ----------
    config: the resolved config, logged as parameters (nested keys joined by dots) and as ``config.yaml``.
    tags: logged as ``ms2img.<key>``; the version of ms2img is added.
    """
    with store.reporting():
        client, experiment_id = store.client(), store.experiment_id()
        run_id = client.create_run(
            experiment_id, run_name=name, tags=_tags({"version": __version__, **tags})
        ).info.run_id
    run = TrackedRun(store, str(run_id), experiment_id)
    try:
        with store.reporting():
            _log_params(client, run.run_id, config)
            client.log_text(run.run_id, yaml.safe_dump(dict(config), sort_keys=False), CONFIG_NAME)
            _log_inputs(client, run.run_id, inputs)
        yield run
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        client.set_terminated(run.run_id, "KILLED")
        raise
    except BaseException as error:
        client.set_tag(run.run_id, f"{TAG_PREFIX}error", first_line(error))
        client.set_terminated(run.run_id, "FAILED")
        raise
    with store.reporting():
        client.set_terminated(run.run_id, "FINISHED")


@contextmanager
def record_folder(store: Store, run_id: str) -> Iterator[Path]:
    """Yield a local folder with the record of a cross-validation run; a downloaded one is removed afterwards.

    Raises `UsageError` when there is no such run or it holds no record.
    """
    from mlflow.exceptions import MlflowException

    try:
        held = {entry.path for entry in store.client().list_artifacts(run_id)}
    except MlflowException:
        raise UsageError(f"{store.shown()}: no run {run_id} there") from None
    if RECORD_PATH not in held:
        raise UsageError(f"{store.shown()}: run {run_id} holds no finished cross-validation")
    with store.reporting(), tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        yield Path(store.client().download_artifacts(run_id, RECORD_PATH, scratch))


def _log_params(client: MlflowClient, run_id: str, config: Mapping[str, Any]) -> None:
    params = _params(_flat(config))
    for start in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run_id, params=params[start : start + _PARAMS_A_CALL])


def _log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[tuple[str, float, int, int]]) -> None:
    from mlflow.entities import Metric

    rows = [Metric(key, value, timestamp, step) for key, value, step, timestamp in metrics]
    for start in range(0, len(rows), _METRICS_A_CALL):
        client.log_batch(run_id, metrics=rows[start : start + _METRICS_A_CALL])


def _log_inputs(client: MlflowClient, run_id: str, inputs: Sequence[InputData]) -> None:
    from mlflow.entities import Dataset, DatasetInput

    datasets = [
        DatasetInput(Dataset(each.name, each.digest, "local", json.dumps({"uri": each.source}))) for each in inputs
    ]
    if datasets:
        client.log_inputs(run_id, datasets)


def _curves(history: pd.DataFrame) -> list[tuple[str, float, int, int]]:
    """(name, value, epoch, time) of every finite number of a fold's history."""
    now = _now()
    rows: list[tuple[str, float, int, int]] = []
    for name in history.select_dtypes("number").columns:
        if name in _NO_CURVE:
            continue
        points = zip(history["epoch"], history[name], strict=True)
        rows.extend((str(name), float(value), int(epoch), now) for epoch, value in points if math.isfinite(value))
    return rows


def _fold_metrics(metrics: pd.DataFrame) -> list[tuple[str, float, int, int]]:
    """(level_measure, value, 0, time) of every finite measure of a fold."""
    now = _now()
    return [
        (f"{row['level']}_{name}", float(row[name]), 0, now)
        for row in metrics.to_dict("records")
        for name in _measures(metrics)
        if math.isfinite(row[name])
    ]


def _measures(metrics: pd.DataFrame) -> list[str]:
    return [str(name) for name in metrics.select_dtypes("number").columns if name != "fold"]


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to one level, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _params(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, _text(value)[:_PARAM_LENGTH]) for key, value in values.items()]


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    return {f"{TAG_PREFIX}{key}": _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _now() -> int:
    return int(time.time() * 1000)
