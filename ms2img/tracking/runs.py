"""One cross-validation in the store: a parent run, a child run a fold, and the record a report is made of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from ms2img.errors import UsageError
from ms2img.tracking.entries import InputData, Point, curves, log_folder, log_params, log_points, single_points
from ms2img.tracking.lifetime import OpenRun, open_run
from ms2img.tracking.store import Store

RECORD_PATH = "record"  # artefact folder of the cross-validation record


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


@dataclass
class TrackedRun(OpenRun):
    """The parent run of a cross-validation; made by `track_cross_validation`."""

    _logged_folds: set[int] = field(default_factory=set)

    def log_fold(self, fold: int, history: pd.DataFrame, metrics: pd.DataFrame) -> str:
        """Log one finished fold as a child run; return its id.

        history: rows of this fold; every numeric column but fold and epoch becomes a curve over epochs.
        metrics: rows of this fold, one a level; a measure becomes ``<level>_<measure>``.
        """
        with self.reporting():
            client = self.client
            child = client.create_run(
                self.experiment_id, run_name=f"fold {fold}", tags={"mlflow.parentRunId": self.run_id}
            ).info.run_id
            log_params(client, child, {"fold": fold})
            log_points(client, child, [*curves(history), *_measured(metrics)])
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
        log_record(self, record)


def log_record(run: OpenRun, record: Record) -> None:
    """Log a record's numbers to the run, and its files: what `record_folder` and so a report finds again."""
    with run.reporting():
        log_points(run.client, run.run_id, single_points(record.summary))
        log_folder(run.store, run.run_id, RECORD_PATH, record.save)


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

    The run ends as FINISHED; as KILLED when the block is interrupted or terminated; as FAILED, with the reason in the
    tag ``ms2img.error``, on any other exception, which goes on to the caller.

    Parameters
    ----------
    config: the resolved config, logged as parameters (nested keys joined by dots) and as ``config.yaml``.
    tags: logged as ``ms2img.<key>``; the version of ms2img is added.
    """
    with open_run(TrackedRun, store, name=name, config=config, tags=tags, inputs=inputs) as run:
        yield run


@contextmanager
def record_folder(store: Store, run_id: str, path: str = RECORD_PATH) -> Iterator[Path]:
    """Yield a local copy of the record of a cross-validation run (or of artefact folder `path`), removed afterwards.

    Raises `UsageError` when there is no such run or it holds no record.
    """
    if path not in artefacts(store, run_id):
        raise UsageError(f"{store.shown()}: run {run_id} holds no finished cross-validation")
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        with store.reporting():
            folder = Path(store.client().download_artifacts(run_id, path, scratch))
        yield folder


def artefacts(store: Store, run_id: str) -> set[str]:
    """Names of the run's artefacts at the top level. Raises `UsageError` when there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        return {str(entry.path) for entry in store.client().list_artifacts(run_id)}
    except MlflowException:
        raise UsageError(f"{store.shown()}: no run {run_id} there") from None


def _measured(metrics: pd.DataFrame) -> list[Point]:
    """``<level>_<measure>`` of a fold."""
    measures = [str(name) for name in metrics.select_dtypes("number").columns if name != "fold"]
    return [(f"{row['level']}_{name}", float(row[name]), 0) for row in metrics.to_dict("records") for name in measures]
