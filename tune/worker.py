"""A trial in its worker, without Ray: all folds to a rung, each from where it stands in the ledger.

A fold is `ms2img.ms2toimg.crossvalidate.run_fold`, the same as of ``ms2img train``. Whatever happens in between, it
gives the numbers of an undisturbed training: an epoch is a function of the state before it and the seed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState, read_history
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask, run_fold
from tune.choose import validation_score
from tune.forms import FOLDS
from tune.ledger import Ledger
from tune.rung import RungReached, RungReporter, best_epoch, no_fault_of_the_trial
from tune.training import Form, OnEpoch, Reached


@dataclass(frozen=True, eq=False)
class Cohort:
    """What every trial learns from: `images` uint8 [n, H, W] and `target` [n] in the order of the labels.

    `tasks`: the folds, with each fold's seed; a trial puts its own network and training in their place.
    """

    images: np.ndarray
    target: np.ndarray
    tasks: Sequence[FoldTask]

    @property
    def trainings(self) -> int:
        """See `tune.training.Subject`: the folds."""
        return len(self.tasks)

    @property
    def form(self) -> Form:
        """See `tune.training.Subject`."""
        return FOLDS

    def training(
        self, trial: Mapping[str, Any], ledger: Ledger, *, device: str, checkpoint_seconds: float, on_epoch: OnEpoch
    ) -> TrialRun:
        """See `tune.training.Subject`."""
        return TrialRun(
            self,
            ledger,
            trial["number"],
            trial["values"],
            CnnConfig.from_dict(trial["model"]),
            FitConfig.from_dict({**trial["fit"], "device": device}),
            checkpoint_seconds=checkpoint_seconds,
            on_epoch=on_epoch,
        )


class TrialRun:
    """The training of one trial, rung by rung.

    Raises `FloatingPointError` when a fold diverges, `UsageError` when the network cannot be built for these images,
    `JobError` when the ledger cannot be used.
    """

    def __init__(
        self,
        cohort: Cohort,
        ledger: Ledger,
        number: int,
        values: Mapping[str, Any],
        cnn: CnnConfig,
        fit: FitConfig,
        *,
        checkpoint_seconds: float,
        on_epoch: OnEpoch,
    ) -> None:
        self._cohort = cohort
        self._ledger = ledger
        self._number = number
        self._values = values
        self._tasks = [replace(task, cnn=cnn, fit=replace(fit, seed=task.fit.seed)) for task in cohort.tasks]
        self._checkpoint_seconds = checkpoint_seconds
        self._on_epoch = on_epoch
        self._finished: dict[int, FoldResult] = {}
        self._seconds: dict[int, float] = {}

    def reach(self, epochs: int) -> Reached:
        """See `tune.training.Training`; score and loss are means over the folds."""
        folds = self.train_to(epochs)
        scores = [validation_score(fold) for fold in folds]
        return Reached(
            score=fmean(score.value for score in scores),
            loss=fmean(score.loss for score in scores),
            epochs=epochs,
            results=[FOLDS.to_json(fold) for fold in folds],
            seconds=sum(fold.seconds for fold in folds),
            finished=all(len(fold.probability) for fold in folds),
        )

    def train_to(self, epochs: int) -> list[FoldResult]:
        """Train all folds to `epochs`; of a fold that is not finished there, the probabilities are empty."""
        return [self._fold_to(index, task, epochs) for index, task in enumerate(self._tasks)]

    def _fold_to(self, index: int, task: FoldTask, epochs: int) -> FoldResult:
        done = self._finished.get(index)
        if done is None:
            with no_fault_of_the_trial():
                done = self._ledger.fold(self._number, index, self._values)
        if done is None:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="ms2img-trial-") as scratch:
                done = self._train(index, task, epochs, scratch)
            self._seconds[index] = self._seconds.get(index, 0.0) + time.perf_counter() - started
            done = replace(done, seconds=self._seconds[index])
            if len(done.probability):
                with no_fault_of_the_trial():
                    self._ledger.write_fold(self._number, done, self._values)
        if len(done.probability):
            self._finished[index] = done
        return done

    def _train(self, index: int, task: FoldTask, epochs: int, scratch: str) -> FoldResult:
        with no_fault_of_the_trial():
            kept = self._ledger.fetch_state(self._number, index, scratch)
        try:
            return self._run(index, task, epochs, scratch, kept)
        except UsageError as error:
            if kept is None:
                raise
            self._ledger.notice(f"trial {self._number}, fold {index}: {error}; this fold is trained from its start")
            return self._run(index, task, epochs, scratch, None)

    def _run(self, index: int, task: FoldTask, epochs: int, scratch: str, kept: Any) -> FoldResult:
        def save(state: TrainingState) -> None:
            with no_fault_of_the_trial():
                self._ledger.save_state(self._number, index, state, scratch)

        reporter = RungReporter(
            rung=epochs if epochs < task.fit.epochs else None,
            every_seconds=self._checkpoint_seconds,
            save=save,
            on_epoch=lambda row: self._on_epoch(index, row),
        )
        try:
            if kept is not None:
                reporter.resume(read_history(kept, task.fit))
            return run_fold(self._cohort.images, self._cohort.target, task, reporter, resume=kept)[0]
        except RungReached as reached:
            history = [dict(row) for row in reached.history if row["epoch"] <= epochs]
            return FoldResult(
                fold=index,
                probability=np.empty(0),
                history=history,
                best_epoch=best_epoch(history, task.fit.keep),
                seconds=0.0,
                precision="",
            )
