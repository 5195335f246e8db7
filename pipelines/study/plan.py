"""From a cell to everything its worker needs: labels, folds, rows, conditions, and the key of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ms2img.errors import UsageError
from ms2img.io.sheet import Sheet
from ms2img.learn.splits import kept
from ms2img.ms2toimg.cnn import PRESETS, TRAINING, CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldTask, folds_fingerprint, plan_folds
from ms2img.ms2toimg.labels import Labels, make_labels
from pipelines.study.cell import preprocessing_of
from pipelines.study.config import StudyConfig, StudyFile
from pipelines.study.grid import Cell
from pipelines.study.ledger import key_of
from pipelines.study.rows import Place, Preparation
from pipelines.study.sources import Sources

CELL_VERSION = 1  # raised by hand when the same inputs give other numbers


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples of a place, in order, with the accession of each (str [n])."""

    place: Place
    sample_ids: tuple[str, ...]
    accessions: np.ndarray


@dataclass(frozen=True, eq=False)
class CellWork:
    """One cell for its worker: what it learns from, its folds, and where it is tested too.

    `base.sample_ids` and `target` [n] are those of the labels, so that the folds' row numbers fit both.
    """

    cell: Cell
    key: str
    out: str
    base: Samples
    target: np.ndarray
    tasks: tuple[FoldTask, ...]
    conditions: dict[str, Samples]


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell's work, and the labels its predictions are judged by."""

    work: CellWork
    labels: Labels


class Planner:
    """Plans cells; sheets and labels are read once."""

    def __init__(
        self, study: StudyFile, config: StudyConfig, out: str, sources: Sources, preparation: Preparation
    ) -> None:
        self._study = study
        self._config = config
        self._out = out
        self._sources = sources
        self._preparation = preparation
        self._sheets: dict[str, Sheet] = {}
        self._labels: dict[tuple[str, str], Labels] = {}

    def sheet(self, data: str) -> Sheet:
        """The sample sheet of a data set."""
        if data not in self._sheets:
            allow = self._sources.allow_outside(data)
            self._sheets[data] = Sheet.read(self._sources.sheet(data), allow_outside=allow)
        return self._sheets[data]

    def labels(self, task: str, place: Place) -> Labels:
        """The labels of a task's runs that have rows here."""
        key = (task, place.location)
        if key not in self._labels:
            spec = self._study.tasks[task]
            self._labels[key] = make_labels(self.sheet(spec.data), spec.label_config(), place.sample_ids)
        return self._labels[key]

    def all_labels(self, task: str) -> Labels:
        """The labels of all runs of a task's sheet, whatever became of their files: folds are dealt over these."""
        spec = self._study.tasks[task]
        sheet = self.sheet(spec.data)
        return make_labels(sheet, spec.label_config(), [run.sample_id for run in sheet.runs])

    def plan(self, cell: Cell) -> PlannedCell:
        """Prepare the cell's rows, where that is not done, and plan its folds.

        Raises `UsageError` for an assay that the sheet has not, or folds with one class.
        """
        data = self._study.tasks[cell.task].data
        place = self._preparation.place(data, cell.representation, cell.resolution)
        labels = self.labels(cell.task, place)
        base = Samples(place, labels.sample_ids, np.array(labels.accessions))
        cnn, tasks = self._folds(cell, labels)
        conditions = {
            name: self._condition(cell, tested, labels)
            for name, condition in self._study.conditions.items()
            for trained, tested in condition.data.items()
            if trained == data
        }
        folds = folds_fingerprint(labels, tasks)
        key = key_of(
            {
                "version": CELL_VERSION,
                "cell": asdict(cell),
                "rows": place.fingerprint,
                "labels": labels.fingerprint(),
                "folds": folds,
                "training": [cnn, _training(tasks)]
                if cell.is_network
                else preprocessing_of(cell.representation, cell.model).model_dump(mode="json"),
                "conditions": {
                    name: [each.place.fingerprint, list(each.sample_ids), each.accessions.tolist()]
                    for name, each in conditions.items()
                },
            }
        )
        work = CellWork(cell, key, self._out, base, labels.target, tuple(tasks), conditions)
        return PlannedCell(work, labels)

    def _folds(self, cell: Cell, labels: Labels) -> tuple[dict[str, Any], list[FoldTask]]:
        """The folds: those of a network with its way of training, a baseline's without a validation part."""
        preset = cell.model.removeprefix("cnn-") if cell.is_network else "paper"
        cnn: CnnConfig = PRESETS[preset]
        device = "cuda" if cell.is_network and self._config.gpus_per_cell else "cpu"
        fit = replace(
            TRAINING[preset],
            seed=cell.seed,
            threads=self._config.cpus_per_cell,
            device=device,
            precision=self._study.precision,
        )
        if self._study.epochs is not None:
            fit = replace(fit, epochs=self._study.epochs)
        validation = cell.is_network and fit.keep == "best"
        try:
            tasks = plan_folds(self.all_labels(cell.task), self._study.folds, cnn, fit, validation=validation)
        except UsageError as error:
            raise UsageError(f"task '{cell.task}', {error}") from None
        return cnn.to_dict(), [self._kept(cell, task, labels) for task in tasks]

    def _kept(self, cell: Cell, task: FoldTask, labels: Labels) -> FoldTask:
        """A fold of all labelled runs with the rows that there are; a run that failed moves no other one."""
        there = set(labels.sample_ids)
        rows = np.flatnonzero([sample in there for sample in self.all_labels(cell.task).sample_ids])
        fold = kept(task.fold, rows)
        if len(set(labels.target[fold.train])) < 2 or not len(fold.test):
            raise UsageError(
                f"task '{cell.task}', {cell.representation}: of fold {fold.index + 1} too few runs could be read; "
                "see the errors.parquet of its data set"
            )
        return replace(task, fold=fold)

    def _condition(self, cell: Cell, tested: str, labels: Labels) -> Samples:
        """The runs of another data set whose accession the labels put into a class."""
        data = self._study.tasks[cell.task].data
        place = self._preparation.place(tested, cell.representation, cell.resolution, onto=data)
        used = {labels.accessions[row] for row in np.flatnonzero(labels.target >= 0)}
        has_rows = set(place.sample_ids)
        runs = [
            run
            for run in self.sheet(tested).runs
            if run.kind == "sample" and run.accession in used and run.sample_id in has_rows
        ]
        if not runs:
            raise UsageError(f"data '{tested}' has no run of an accession that task '{cell.task}' is trained on")
        runs.sort(key=lambda run: run.sample_id)
        return Samples(place, tuple(run.sample_id for run in runs), np.array([run.accession for run in runs]))


def _training(tasks: Sequence[FoldTask]) -> list[dict[str, Any]]:
    """What decides a network's weights; the number of threads only moves their last digits."""
    return [{**task.fit.to_dict(), "threads": None, "device": None} for task in tasks]
