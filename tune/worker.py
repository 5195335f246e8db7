"""A trial in its worker, without Ray: all folds to a rung, each from where it stands in the ledger.

A fold is `ms2img.ms2toimg.crossvalidate.run_fold`, the same as of ``ms2img train``. Whatever happens in between, it
gives the numbers of an undisturbed training: an epoch is a function of the state before it and the seed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ms2img.errors import JobError, UsageError
from ms2img.learn.checkpoint import TrainingState, read_history
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask, run_fold
from tune.ledger import Ledger

OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Cohort:
    """What every trial learns from: `images` uint8 [n, H, W] and `target` [n] in the order of the labels.

    `tasks`: the folds, with each fold's seed; a trial puts its own network and training in their place.
    """

    images: np.ndarray
    target: np.ndarray
    tasks: Sequence[FoldTask]


class RungReached(Exception):  # noqa: N818 (no error)
    """Raised out of the training loop at a rung: the training goes on later, and its test part waits for the end."""

    def __init__(self, history: Sequence[Mapping[str, float]]) -> None:
        self.history = history


@contextmanager
def _no_fault_of_the_trial() -> Iterator[None]:
    """A ledger that this worker may not read or write ends the job; as a `UsageError` it would be the trial's own."""
    try:
        yield
    except UsageError as error:
        raise JobError(str(error)) from None


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

    def train_to(self, epochs: int) -> list[FoldResult]:
        """Train all folds to `epochs`; of a fold that is not finished there, the probabilities are empty."""
        return [self._fold_to(index, task, epochs) for index, task in enumerate(self._tasks)]

    def _fold_to(self, index: int, task: FoldTask, epochs: int) -> FoldResult:
        done = self._finished.get(index)
        if done is None:
            with _no_fault_of_the_trial():
                done = self._ledger.fold(self._number, index, self._values)
        if done is None:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="ms2img-trial-") as scratch:
                done = self._train(index, task, epochs, scratch)
            self._seconds[index] = self._seconds.get(index, 0.0) + time.perf_counter() - started
            done = replace(done, seconds=self._seconds[index])
            if len(done.probability):
                with _no_fault_of_the_trial():
                    self._ledger.write_fold(self._number, done, self._values)
        if len(done.probability):
            self._finished[index] = done
        return done

    def _train(self, index: int, task: FoldTask, epochs: int, scratch: str) -> FoldResult:
        with _no_fault_of_the_trial():
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
            with _no_fault_of_the_trial():
                self._ledger.save_state(self._number, index, state, scratch)

        reporter = _Reporter(
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
            best = history[-1] if task.fit.keep == "last" else min(history, key=lambda row: row["validation_loss"])
            return FoldResult(
                fold=index,
                probability=np.empty(0),
                history=history,
                best_epoch=int(best["epoch"]),
                seconds=0.0,
                precision="",
            )


class _Reporter:
    """Tells epochs, saves the state when it is time, and leaves the training at the rung (None: there is none)."""

    def __init__(
        self,
        *,
        rung: int | None,
        every_seconds: float,
        save: Callable[[TrainingState], None],
        on_epoch: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._rung = rung
        self._every_seconds = every_seconds
        self._save = save
        self._on_epoch = on_epoch
        self._saved = time.monotonic()

    def resume(self, history: Sequence[Mapping[str, float]]) -> None:
        """Told of the state that a training is to go on from; raises `RungReached` when there is nothing to train."""
        if self._rung is not None and len(history) >= self._rung:
            raise RungReached(history)

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        self._on_epoch(metrics)

    def checkpoint(self, state: TrainingState) -> None:
        """See `ms2img.learn.reporter.Reporter`. At a rung it raises `RungReached`: the test part waits for the end."""
        at_rung = self._rung is not None and state.epoch >= self._rung
        if at_rung or (time.monotonic() - self._saved >= self._every_seconds and state.epoch < state.config.epochs):
            self._save(state)
            self._saved = time.monotonic()
        if at_rung:
            raise RungReached(list(state.history))

    def should_stop(self) -> bool:
        """See `ms2img.learn.reporter.Reporter`."""
        return False
