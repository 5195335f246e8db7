"""A sweep in the tracking store, which may go away while trials run: the ledger has everything, and is logged later."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ms2img.ms2toimg.crossvalidate import FoldTask
from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.summarise import fold_history, fold_metrics, fold_predictions, mean_and_sd
from tune.choose import scored
from tune.trial import TrialResult

if TYPE_CHECKING:
    from ms2img.tracking.sweeps import TrackedSweep
    from pipelines.sweep_live import SweepView

    Measured = Callable[[TrialResult], tuple[pd.DataFrame, dict[str, float]]]


class SweepLog:
    """Logs trials as they end. When the store no longer answers, says so once and leaves the rest to `finish`.

    `measured`: what is told of a trial, its history and its final numbers.
    """

    def __init__(self, run: TrackedSweep, measured: Measured, warn: Callable[[str], None]) -> None:
        self._run = run
        self._measured = measured
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
        history, numbers = self._measured(result)
        numbers = {"n_weights": result.n_weights, "seconds": result.seconds, **numbers}
        self._run.log_trial(
            result.number,
            result.values,
            result.status,
            history,
            {name: float(value) for name, value in numbers.items() if math.isfinite(value)},
            reason=result.reason,
            seconds=result.seconds,
        )


def of_folds(result: TrialResult, labels: Labels, tasks: Sequence[FoldTask]) -> tuple[pd.DataFrame, dict[str, float]]:
    """History and numbers of a trial of the CNN: its row of `tune.record.TRIALS`, as far as it is numbers."""
    curves = [fold_history(fold) for fold in result.folds if fold.history]
    numbers: dict[str, float] = {}
    if result.status != "failed":
        validation = scored(result)
        numbers |= {"validation_accuracy": validation.value, "validation_loss": validation.loss}
    if result.status == "finished":
        tables = [fold_predictions(labels, task, fold) for task, fold in zip(tasks, result.folds, strict=True)]
        spread = mean_and_sd(fold_metrics(pd.concat(tables)))
        numbers |= {name: spread[f"accession_{name}_mean"] for name in ("accuracy", "roc_auc")}
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(), numbers


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
