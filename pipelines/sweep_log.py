"""A sweep in the tracking store, which may go away while trials run: the ledger has everything, and is logged later."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ms2img.ms2toimg.crossvalidate import FoldTask
from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.summarise import fold_history, fold_metrics, fold_predictions, mean_and_sd
from tune.choose import scored
from tune.trial import TrialResult

if TYPE_CHECKING:
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_live import SweepView


class SweepLog:
    """Logs trials as they end. When the store no longer answers, says so once and leaves the rest to `finish`."""

    def __init__(
        self, run: TrackedSweep, labels: Labels, tasks: Sequence[FoldTask], warn: Callable[[str], None]
    ) -> None:
        self._run = run
        self._labels = labels
        self._tasks = tasks
        self._warn = warn
        self._is_away = False

    def ended(self, result: TrialResult) -> None:
        """Log one trial, unless the store is away."""
        from ms2img.tracking.store import StoreError

        if self._is_away:
            return
        try:
            self._log(result)
        except StoreError as error:
            self._is_away = True
            self._warn(f"the tracking store no longer answers, the trials go on without it: {error}")

    def finish(self, results: Sequence[TrialResult]) -> None:
        """Log every trial that is not logged yet. Raises `StoreError`."""
        for result in results:
            self._log(result)

    def _log(self, result: TrialResult) -> None:
        if result.number in self._run.logged:
            return
        curves = [fold_history(fold) for fold in result.folds if fold.history]
        self._run.log_trial(
            result.number,
            result.values,
            result.status,
            pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
            self._numbers(result),
            reason=result.reason,
            seconds=result.seconds,
        )

    def _numbers(self, result: TrialResult) -> dict[str, float]:
        """The trial's row of `tune.record.TRIALS`, as far as it is numbers."""
        numbers: dict[str, Any] = {"n_weights": result.n_weights, "seconds": result.seconds}
        if result.status != "failed":
            validation = scored(result)
            numbers |= {"validation_accuracy": validation.accuracy, "validation_loss": validation.loss}
        if result.status == "finished":
            tables = [
                fold_predictions(self._labels, task, fold) for task, fold in zip(self._tasks, result.folds, strict=True)
            ]
            spread = mean_and_sd(fold_metrics(pd.concat(tables)))
            numbers |= {name: spread[f"accession_{name}_mean"] for name in ("accuracy", "roc_auc")}
        return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


class Told:
    """The listener of a search: tells the person who watches, and the tracking store."""

    def __init__(self, view: SweepView, log: SweepLog) -> None:
        self.started = view.started
        self.epoch = view.epoch
        self.note = view.note
        self._view = view
        self._log = log

    def ended(self, result: TrialResult) -> None:
        """See `tune.settings.Listener`."""
        self._view.ended(result)
        self._log.ended(result)
