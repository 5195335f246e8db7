"""The record of a sweep: every trial, every curve, every outer prediction, and what was chosen by which rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask
from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.record import HISTORY as FOLD_HISTORY
from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.record_folder import (
    read_summary,
    read_tables,
    require_record,
    typed,
    write_summary,
    write_tables,
)
from ms2img.ms2toimg.summarise import fold_history, fold_metrics, fold_predictions, mean_and_sd, summarise
from tune.choose import nested, papers_choice, scored, validation_score, winner
from tune.trial import TrialResult

#: Columns of each table, in order, with their types.
TRIALS = {
    "trial": "int64",
    "status": "str",  # "finished" | "stopped" | "failed"
    "reason": "str",  # of a failure; "" for none
    "n_weights": "int64",
    "epochs": "int64",  # trained, over all folds
    "seconds": "float64",  # of training
    "started": "float64",  # seconds since the sweep's first start, without the gaps between its runs
    "ended": "float64",
    "validation_accuracy": "float64",  # inner, at the best epochs, mean over the folds
    "validation_loss": "float64",
    "accuracy": "float64",  # outer, per accession, mean over the folds; NaN unless finished
    "roc_auc": "float64",
    "values": "str",  # JSON of the hyper-parameters
}
HISTORY = {"trial": "int64", **FOLD_HISTORY}
PREDICTIONS = {
    "trial": "int64",
    "fold": "int64",
    "sample_id": "str",
    "accession": "str",
    "target": "int64",
    "probability": "float64",  # of being active, by the fold that did not train on the accession
}
TABLES = {"trials": TRIALS, "history": HISTORY, "predictions": PREDICTIONS}
KIND = "sweep"


@dataclass(frozen=True, eq=False)
class SweepRecord:
    """A finished sweep.

    `trials`: a row a trial. `history`: a row trial x fold x epoch. `predictions`: a row trial x run of the outer test
    parts, of finished trials. `summary`: everything else, ready for JSON (NaN included: it is stored as null).
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    summary: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write the record into `folder` (made if absent), the summary last: with it the record is complete."""
        write_tables(Path(folder), vars(self), TABLES)
        write_summary(Path(folder), self.summary)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises `UsageError` naming the file that is missing, damaged or of another kind."""
        require_record(Path(folder), "ms2img sweep")
        return cls(**read_tables(Path(folder), TABLES, KIND), summary=read_summary(Path(folder), KIND))


def sweep_record(
    labels: Labels, tasks: Sequence[FoldTask], results: Sequence[TrialResult], about: Mapping[str, Any]
) -> SweepRecord:
    """The record of a sweep of which at least one trial finished (else `JobError`).

    Parameters
    ----------
    labels: what was learned from.
    tasks: the folds of any trial, in order; row numbers are those of `labels`.
    about: further entries of the summary. ``epochs`` (of a full training) is required; ``scheduler``, unless "fifo",
        makes the nested figures not strict: stopping a trial looked at the validation parts of all folds.
    """
    results = sorted(results, key=lambda result: result.number)
    predictions = {
        result.number: pd.concat(
            [fold_predictions(labels, task, fold) for task, fold in zip(tasks, result.folds, strict=True)]
        )
        for result in results
        if result.status == "finished"
    }
    outer = {number: _outer(table) for number, table in predictions.items()}
    trials = typed(pd.DataFrame([_row(result, outer.get(result.number, {})) for result in results]), TRIALS)
    best, paper, per_fold = winner(results), papers_choice(results, tasks, labels), nested(results)
    values = {result.number: result.values for result in results}
    joined = pd.concat(
        [
            fold_predictions(labels, task, _of_trial(results, number).folds[index])
            for index, (task, number) in enumerate(zip(tasks, per_fold, strict=True))
        ]
    )
    validation = scored(best)
    counts = Counter(result.status for result in results)
    summary = {
        **about,
        "trials": len(results),
        "folds": len(tasks),
        "counts": {status: counts[status] for status in ("finished", "stopped", "failed")},
        "epochs_trained": int(trials["epochs"].sum()),
        "epochs_full": len(results) * len(tasks) * about["epochs"],
        "winner": {
            "trial": best.number,
            "values": best.values,
            "n_weights": best.n_weights,
            "validation_accuracy": validation.value,
            "validation_loss": validation.loss,
            **outer[best.number],
        },
        "paper_rule": {"trial": paper, "values": values[paper], **outer[paper]},
        "nested": {"trials": per_fold, **_outer(joined), "strict": about.get("scheduler", "fifo") == "fifo"},
    }
    return SweepRecord(
        trials=trials, history=_history(results), predictions=_all_predictions(predictions), summary=summary
    )


def nested_record(
    labels: Labels,
    images: np.ndarray,
    tasks: Sequence[FoldTask],
    results: Sequence[TrialResult],
    *,
    refit: FoldResult | None = None,
    refit_epochs: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> CvRecord:
    """The cross-validation a sweep's winner is registered with: each fold by the trial chosen without its test part.

    `tasks` are the winner's, whose network the record describes; which trial scored which fold is the summary's
    ``nested_trials``. The other parameters are those of `ms2img.ms2toimg.summarise.summarise`.
    """
    per_fold = nested(results)
    chosen = [_of_trial(results, number).folds[index] for index, number in enumerate(per_fold)]
    about = {**(about or {}), "nested_trials": per_fold}
    return summarise(labels, images, tasks, chosen, refit=refit, refit_epochs=refit_epochs, about=about)


def _outer(predictions: pd.DataFrame) -> dict[str, float]:
    """Accuracy and AUC per accession over the folds of one choice: mean and standard deviation."""
    spread = mean_and_sd(fold_metrics(predictions))
    return {
        f"{name}_{kind}": spread[f"accession_{name}_{kind}"]
        for name in ("accuracy", "roc_auc")
        for kind in ("mean", "sd")
    }


def _row(result: TrialResult, outer: Mapping[str, float]) -> dict[str, Any]:
    scores = [validation_score(fold) for fold in result.folds if fold.history]
    accuracy, loss = (np.mean(scores, axis=0).tolist()) if scores else (np.nan, np.nan)
    return {
        "trial": result.number,
        "status": result.status,
        "reason": result.reason or "",
        "n_weights": result.n_weights,
        "epochs": sum(len(fold.history) for fold in result.folds),
        "seconds": result.seconds,
        "started": result.started,
        "ended": result.ended,
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "accuracy": outer.get("accuracy_mean", np.nan),
        "roc_auc": outer.get("roc_auc_mean", np.nan),
        "values": json.dumps(result.values, sort_keys=True),
    }


def _history(results: Sequence[TrialResult]) -> pd.DataFrame:
    tables = [
        fold_history(fold).assign(trial=result.number) for result in results for fold in result.folds if fold.history
    ]
    return typed(pd.concat(tables, ignore_index=True), HISTORY)


def _all_predictions(of_trial: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    tables = [table.assign(trial=number) for number, table in of_trial.items()]
    return typed(pd.concat(tables, ignore_index=True), PREDICTIONS)


def _of_trial(results: Sequence[TrialResult], number: int) -> TrialResult:
    [found] = [result for result in results if result.number == number]
    return found
