"""One study in the store: a parent run, a child run a cell, and the record its report is drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from ms2img.tracking.catalogue import TAG_PREFIX
from ms2img.tracking.entries import (
    InputData,
    curves,
    log_folder,
    log_params,
    log_points,
    single_points,
    tag_texts,
)
from ms2img.tracking.lifetime import OpenRun, open_run
from ms2img.tracking.store import Store
from ms2img.tracking.sweeps import children

STUDY_PATH = "study"  # artefact folder of the record
CELL_TAG = f"{TAG_PREFIX}cell"
KEY_TAG = f"{TAG_PREFIX}key"


class Saved(Protocol):
    """What is logged of a study; `pipelines.study.record.StudyRecord` is one."""

    def save(self, folder: str | Path) -> Any:
        """Write the record's files into `folder`."""


@dataclass
class TrackedStudy(OpenRun):
    """The parent run of a study; made by `track_study`. `logged`: (cell, key) -> id of its child run."""

    logged: dict[tuple[str, str], str] = field(default_factory=dict)

    def log_cell(
        self,
        cell: str,
        key: str,
        values: Mapping[str, Any],
        history: pd.DataFrame,
        numbers: Mapping[str, float],
    ) -> str:
        """Log a finished cell as a child run and return its id; one that is logged already is left as it is.

        Parameters
        ----------
        key: of what the cell was computed from; another key is another child run.
        values: task, representation, resolution, model, seed; logged as parameters.
        history: a row fold x epoch, may be empty; each fold's columns become curves ``fold_1/<column>``.
        numbers: means over the folds; those that are not finite are left out.
        """
        if (cell, key) in self.logged:
            return self.logged[cell, key]
        with self.reporting():
            client = self.client
            child = str(
                client.create_run(
                    self.experiment_id,
                    run_name=cell,
                    tags={"mlflow.parentRunId": self.run_id, **tag_texts({"cell": cell, "key": key})},
                ).info.run_id
            )
            log_params(client, child, values)
            points = single_points(numbers)
            for fold in sorted(set(history["fold"])):
                points += curves(history[history["fold"] == fold], f"fold_{fold + 1}/")
            log_points(client, child, points)
            client.set_terminated(child, "FINISHED")
        self.logged[cell, key] = child
        return child

    def log_study(self, record: Saved) -> None:
        """Keep the record's files with the run."""
        with self.reporting():
            log_folder(self.store, self.run_id, STUDY_PATH, record.save)


@contextmanager
def track_study(
    store: Store,
    *,
    name: str,
    config: Mapping[str, Any],
    tags: Mapping[str, Any],
    inputs: Sequence[InputData] = (),
    run_id: str | None = None,
) -> Iterator[TrackedStudy]:
    """Open the parent run of a study for the length of the block; it ends as that of a cross-validation does.

    run_id: the run of an interrupted study to go on with, whose logged cells are found again; a cell that was being
    logged when the study or the store died is deleted there. Where the store has no such run, a new one is made.
    """
    with open_run(TrackedStudy, store, name=name, config=config, tags=tags, inputs=inputs, run_id=run_id) as study:
        if study.run_id == run_id:
            with study.reporting():
                study.logged.update(_logged_cells(study))
        yield study


def _logged_cells(run: OpenRun) -> dict[tuple[str, str], str]:
    logged: dict[tuple[str, str], str] = {}
    for child in children(run.client, run):
        cell, key = child.data.tags.get(CELL_TAG), child.data.tags.get(KEY_TAG)
        if cell is None or key is None:
            continue
        if child.info.status == "RUNNING":
            run.client.delete_run(child.info.run_id)
        else:
            logged[cell, key] = str(child.info.run_id)
    return logged
