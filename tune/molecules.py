"""A trial of MassFormer's models in its worker, without Ray: one training on one split, judged by its validation part.

It is `ms2img.massformer.training.train_model`, the same as of ``ms2img massformer train``. What it learns from holds no
spectrum of the test part, so that no choice can look at one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState, read_history
from ms2img.learn.fit_config import FitConfig
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.model import ModelConfig
from ms2img.massformer.training import train_model
from tune.choose import validation_score
from tune.forms import SPLIT, SplitResult
from tune.ledger import Ledger
from tune.rung import RungReached, RungReporter, best_epoch, no_fault_of_the_trial
from tune.training import Form, OnEpoch, Reached

COSINE = "validation_cosine"  # what decides: mean over the validation molecules
PART = 0  # the number of a trial's only training


@dataclass(frozen=True, eq=False)
class Molecules:
    """What every trial learns from; `max_seconds`: of a trial's training, None for no limit."""

    data: TrainingSet
    max_seconds: float | None = None

    @property
    def trainings(self) -> int:
        """See `tune.training.Subject`."""
        return 1

    @property
    def form(self) -> Form:
        """See `tune.training.Subject`."""
        return SPLIT

    def training(
        self, trial: Mapping[str, Any], ledger: Ledger, *, device: str, checkpoint_seconds: float, on_epoch: OnEpoch
    ) -> SplitRun:
        """See `tune.training.Subject`."""
        return SplitRun(
            self,
            ledger,
            trial["number"],
            trial["values"],
            ModelConfig.from_dict(trial["model"]),
            FitConfig.from_dict({**trial["fit"], "device": device}),
            checkpoint_seconds=checkpoint_seconds,
            on_epoch=on_epoch,
        )


class SplitRun:
    """The training of one trial, rung by rung, each from where the ledger says it stands.

    Raises `FloatingPointError` when it diverges, `UsageError` when the model cannot be built, `JobError` when the
    ledger cannot be used.
    """

    def __init__(
        self,
        molecules: Molecules,
        ledger: Ledger,
        number: int,
        values: Mapping[str, Any],
        model: ModelConfig,
        fit: FitConfig,
        *,
        checkpoint_seconds: float,
        on_epoch: OnEpoch,
    ) -> None:
        self._molecules = molecules
        self._ledger = ledger
        self._number = number
        self._values = values
        self._model = model
        self._fit = fit
        self._checkpoint_seconds = checkpoint_seconds
        self._on_epoch = on_epoch

    def reach(self, epochs: int) -> Reached:
        """See `tune.training.Training`; the score is the mean cosine of the validation molecules at the best epoch."""
        result = self.train_to(epochs)
        score = validation_score(result, COSINE)
        told = [SPLIT.to_json(result)]
        return Reached(score.value, score.loss, len(result.history), told, result.seconds, result.finished)

    def train_to(self, epochs: int) -> SplitResult:
        """Train to `epochs`, or to an earlier end by patience or time."""
        with no_fault_of_the_trial():
            done: SplitResult | None = self._ledger.fold(self._number, PART, self._values)
        if done is not None:
            return done
        with tempfile.TemporaryDirectory(prefix="ms2img-trial-") as scratch:
            done = self._train(epochs, scratch)
        if done.finished:
            with no_fault_of_the_trial():
                self._ledger.write_fold(self._number, done, self._values)
        return done

    def _train(self, epochs: int, scratch: str) -> SplitResult:
        with no_fault_of_the_trial():
            kept = self._ledger.fetch_state(self._number, PART, scratch)
        try:
            return self._run(epochs, scratch, kept)
        except UsageError as error:
            if kept is None:
                raise
            self._ledger.notice(f"trial {self._number}: {error}; it is trained from its start")
            return self._run(epochs, scratch, None)

    def _run(self, epochs: int, scratch: str, kept: Any) -> SplitResult:
        def save(state: TrainingState) -> None:
            with no_fault_of_the_trial():
                self._ledger.save_state(self._number, PART, state, scratch)

        reporter = RungReporter(
            rung=epochs if epochs < self._fit.epochs else None,
            every_seconds=self._checkpoint_seconds,
            save=save,
            on_epoch=lambda row: self._on_epoch(PART, row),
        )
        try:
            if kept is not None:
                reporter.resume(read_history(kept, self._fit))
            found = train_model(
                self._molecules.data,
                self._model,
                self._fit,
                reporter,
                resume=kept,
                max_seconds=self._molecules.max_seconds,
            ).fit
        except RungReached as reached:
            history = [dict(row) for row in reached.history if row["epoch"] <= epochs]
            return SplitResult(PART, history, best_epoch(history, self._fit.keep), reporter.seconds, "", finished=False)
        seconds = reporter.seconds or found.seconds  # none where nothing was left to train
        return SplitResult(PART, found.history, found.best_epoch, seconds, found.precision, finished=True)
