"""One training over several seeds in the store: a parent run, a child run a seed, and what a comparison is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ms2img.errors import UsageError
from ms2img.tracking.entries import InputData, curves, log_folder, log_params, log_points, single_points
from ms2img.tracking.lifetime import OpenRun, open_run
from ms2img.tracking.runs import artefacts, record_folder
from ms2img.tracking.store import Store

SEEDS_PATH = "seeds"  # artefact folder
_CASES_NAME, _SUMMARY_NAME = "cases.parquet", "summary.json"
_OLD_CASES_NAME = "molecules.parquet"  # before there was a second system
_OLD_SYSTEM = "massformer"


@dataclass(frozen=True)
class SeedsRecord:
    """What is kept of a training over seeds.

    cases: one row a case that models are compared over: its id, then its figure, the mean over the seeds. Of a spectrum
    model the validation molecules, ``molecule_id`` and ``cosine``; of an encoder the ions, ``ion`` and ``retrieval``.
    summary: ``system``, ``fingerprints`` of what must be equal (`System.data`), mean and sd of the figure, and more.
    """

    cases: pd.DataFrame
    summary: dict[str, Any]

    @property
    def system(self) -> str:
        """Whose training it is, by its name in `ms2img.tracking.systems`."""
        return str(self.summary.get("system", _OLD_SYSTEM))

    def save(self, folder: Path) -> None:
        """Write the record's files."""
        self.cases.to_parquet(folder / _CASES_NAME, index=False)
        (folder / _SUMMARY_NAME).write_text(json.dumps(self.summary, indent=2, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> SeedsRecord:
        """The record in a folder."""
        summary = json.loads((folder / _SUMMARY_NAME).read_text(encoding="utf-8"))
        old, new = folder / _OLD_CASES_NAME, folder / _CASES_NAME
        return cls(pd.read_parquet(new if new.exists() else old), summary)


@dataclass
class SeedsRun(OpenRun):
    """The parent run of a training over seeds; made by `track_seeds`."""

    def log_seed(self, seed: int, history: Sequence[Mapping[str, float]], values: Mapping[str, Any]) -> str:
        """Log one finished seed as a child run, its history as curves over epochs; return its id."""
        with self.reporting():
            child = self.client.create_run(
                self.experiment_id, run_name=f"seed {seed}", tags={"mlflow.parentRunId": self.run_id}
            ).info.run_id
            log_params(self.client, child, {"seed": seed})
            log_points(self.client, child, [*curves(pd.DataFrame(history)), *single_points(values)])
            self.client.set_terminated(child, "FINISHED")
        return str(child)

    def log_record(self, record: SeedsRecord) -> None:
        """Log the summary's numbers, and the record's files: what a comparison finds again."""
        with self.reporting():
            log_points(self.client, self.run_id, single_points(record.summary))
            log_folder(self.store, self.run_id, SEEDS_PATH, record.save)


@contextmanager
def track_seeds(
    store: Store,
    *,
    name: str,
    config: Mapping[str, Any],
    tags: Mapping[str, Any],
    inputs: Sequence[InputData] = (),
) -> Iterator[SeedsRun]:
    """Open the parent run of a training for the length of the block, see `ms2img.tracking.lifetime.open_run`."""
    with open_run(SeedsRun, store, name=name, config=config, tags=tags, inputs=inputs) as run:
        yield run


def has_seeds(store: Store, run_id: str) -> bool:
    """Whether a run is a training over seeds that was finished."""
    return SEEDS_PATH in artefacts(store, run_id)


def load_seeds(store: Store, run_id: str) -> SeedsRecord:
    """The record of a training over seeds. Raises `UsageError` when the run holds none."""
    if not has_seeds(store, run_id):
        raise UsageError(f"{store.shown()}: run {run_id} holds no finished training over seeds")
    with record_folder(store, run_id, SEEDS_PATH) as folder:
        return SeedsRecord.load(folder)
