"""One sweep in the store: a parent run, a child run a trial, the best one tagged, and the records of the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from ms2img.tracking.catalogue import TAG_PREFIX
from ms2img.tracking.entries import (
    InputData,
    Point,
    curves,
    log_folder,
    log_params,
    log_points,
    set_tags,
    single_points,
    tag_texts,
)
from ms2img.tracking.lifetime import OpenRun, open_run
from ms2img.tracking.runs import Record, log_record
from ms2img.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEEP_PATH = "sweep"  # artefact folder of the search's record
#: A trial's status -> MLflow's; a trial that the scheduler stopped did what it should.
_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
_SECTIONS = ("nested", "winner", "paper_rule", "counts")  # of the summary, whose numbers are logged too
_PAGE = 1000  # rows a call


class SearchRecord(Protocol):
    """What is logged of a finished search; `tune.record.SweepRecord` is one."""

    @property
    def summary(self) -> dict[str, Any]:
        """Numbers, and sections of numbers such as ``nested`` and ``winner``."""

    def save(self, folder: str | Path) -> Any:
        """Write the record's files into `folder`."""


@dataclass
class TrackedSweep(OpenRun):
    """The parent run of a sweep; made by `track_sweep`. `logged`: trial number -> id of its child run.

    Every method raises `StoreError` when the store fails. A caller may go on then, and try again later what failed.
    """

    logged: dict[int, str] = field(default_factory=dict)

    def log_trial(
        self,
        number: int,
        values: Mapping[str, Any],
        status: str,
        history: pd.DataFrame,
        numbers: Mapping[str, float],
        *,
        reason: str | None = None,
        seconds: float = 0.0,
    ) -> str:
        """Log a trial that ended as a child run and return its id; one that is logged already is left as it is.

        Parameters
        ----------
        values: hyper-parameters, logged as parameters.
        status: "finished", "stopped" (by the scheduler) or "failed", with its `reason`; both become tags.
        history: a row fold x epoch. Every numeric column becomes a curve ``fold_1/<column>`` a fold, and
            ``mean/<column>`` as far as every fold was trained. May be empty.
        numbers: the trial's final numbers; those that are not finite are left out.
        seconds: how long it ran, for the run's duration.
        """
        if number in self.logged:
            return self.logged[number]
        told = {"trial": number, "status": status} | ({"reason": reason} if reason else {})
        with self.reporting():
            if self.lost is not None:  # it may have failed in the middle of this trial, or after it
                self.logged.update(_logged_trials(self))
                if number in self.logged:
                    return self.logged[number]
            client, now = self.client, int(time.time() * 1000)
            child = str(
                client.create_run(
                    self.experiment_id,
                    run_name=f"trial {number:04d}",
                    start_time=now - int(seconds * 1000),
                    tags={"mlflow.parentRunId": self.run_id, **tag_texts(told)},
                ).info.run_id
            )
            log_params(client, child, values)
            log_points(client, child, [*_trial_curves(history), *single_points(numbers)])
            client.set_terminated(child, _STATUS[status], end_time=now)
        self.logged[number] = child
        return child

    def tag_best(self, child_run_id: str, number: int) -> None:
        """Tag this trial's run, and no other, as ``ms2img.best``; the parent's tags name its run and its number."""
        with self.reporting():
            client = self.client
            before = client.get_run(self.run_id).data.tags.get(f"{TAG_PREFIX}best")
            if before not in (None, child_run_id):
                client.delete_tag(before, f"{TAG_PREFIX}best")
            set_tags(client, child_run_id, {"best": True})
            set_tags(client, self.run_id, {"best": child_run_id, "best_trial": number})

    def log_sweep(self, record: SearchRecord) -> None:
        """Log the search: its numbers, those of its sections as ``<section>.<name>``, and its record's files."""
        summary = record.summary
        sections = {f"{section}.{key}": value for section in _SECTIONS for key, value in summary[section].items()}
        with self.reporting():
            log_points(self.client, self.run_id, single_points({**summary, **sections}))
            log_folder(self.store, self.run_id, SWEEP_PATH, record.save)

    def log_record(self, record: Record) -> None:
        """Log the nested cross-validation as `ms2img.tracking.runs.TrackedRun` does; its folds' curves are trials'."""
        log_record(self, record)


@contextmanager
def track_sweep(
    store: Store,
    *,
    name: str,
    config: Mapping[str, Any],
    tags: Mapping[str, Any],
    inputs: Sequence[InputData] = (),
    run_id: str | None = None,
) -> Iterator[TrackedSweep]:
    """Open the parent run of a sweep for the length of the block; it ends as that of a cross-validation does.

    run_id: the run of an interrupted sweep to go on with, whose logged trials are found again. Where the store does not
    have it (any more), a new one is made. The rest is as in `ms2img.tracking.runs.track_cross_validation`.
    """
    with open_run(TrackedSweep, store, name=name, config=config, tags=tags, inputs=inputs, run_id=run_id) as sweep:
        if sweep.run_id == run_id:
            with sweep.reporting():
                sweep.logged.update(_logged_trials(sweep))
        yield sweep


def _logged_trials(run: OpenRun) -> dict[int, str]:
    """Trials with a whole child run; one that was being written when its sweep or the store died is deleted."""
    logged: dict[int, str] = {}
    for child in children(run.client, run):
        number = child.data.tags.get(f"{TAG_PREFIX}trial")
        if number is None:
            continue
        if child.info.status == "RUNNING":
            run.client.delete_run(child.info.run_id)
        else:
            logged[int(number)] = str(child.info.run_id)
    return logged


def children(client: MlflowClient, run: OpenRun) -> Iterator[Any]:
    """All child runs of a parent run, page by page."""
    token = None
    while True:
        query = f"tags.mlflow.parentRunId = '{run.run_id}'"
        page = client.search_runs([run.experiment_id], query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _trial_curves(history: pd.DataFrame) -> list[Point]:
    """The mean over the folds, then each fold's own curves."""
    if history.empty:
        return []
    folds = sorted(history["fold"].unique())
    measured = history.select_dtypes("number").drop(columns=["trial", "fold"], errors="ignore")
    by_epoch = measured.groupby("epoch")
    shared = by_epoch.size() == len(folds)
    mean = by_epoch.mean()[shared].reset_index()
    rows = curves(mean, "mean/")
    for fold in folds:
        rows += curves(history[history["fold"] == fold], f"fold_{fold + 1}/")
    return rows
