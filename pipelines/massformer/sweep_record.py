"""The record of a sweep of a spectrum model: every trial, every curve, and what was chosen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune.choose import scored, winner
from tune.molecules import COSINE
from tune.trial import TrialResult

TRIALS_NAME, HISTORY_NAME, SUMMARY_NAME = "trials.parquet", "history.parquet", "summary.json"


@dataclass(frozen=True, eq=False)
class SweepRecord:
    """A finished sweep.

    trials: a row a trial: ``trial``, ``status``, ``reason`` ("" for none), ``n_weights``, ``epochs``, ``best_epoch``,
        ``seconds`` (of training), ``started`` and ``ended`` (of the sweep's own time), ``validation_cosine``,
        ``validation_loss`` (both at the best epoch; NaN of a failed one), ``values`` (JSON).
    history: a row trial x epoch, with all that the training told of it.
    summary: counts, the winner, and what the sweep was of; ready for JSON.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    summary: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write the record's files into `folder`, the summary last."""
        folder = Path(folder)
        self.trials.to_parquet(folder / TRIALS_NAME, index=False)
        self.history.to_parquet(folder / HISTORY_NAME, index=False)
        text = json.dumps(self.summary, indent=2, sort_keys=True, allow_nan=False)
        (folder / SUMMARY_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> SweepRecord:
        """What `save` wrote."""
        folder = Path(folder)
        summary = json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8"))
        return cls(pd.read_parquet(folder / TRIALS_NAME), pd.read_parquet(folder / HISTORY_NAME), summary)


def sweep_record(results: Sequence[TrialResult], about: Mapping[str, Any]) -> SweepRecord:
    """The record of a sweep of which at least one trial finished (else `JobError`).

    about: further entries of the summary.
    """
    results = sorted(results, key=lambda result: result.number)
    trials = pd.DataFrame([_row(result) for result in results])
    histories = [history(result).assign(trial=result.number) for result in results if result.folds]
    best = winner(results, COSINE)
    score = scored(best, COSINE)
    counts = Counter(result.status for result in results)
    summary = {
        **about,
        "trials": len(results),
        "counts": {status: counts[status] for status in ("finished", "stopped", "failed")},
        "epochs_trained": int(trials["epochs"].sum()),
        "seconds_trained": float(trials["seconds"].sum()),
        "winner": {
            "trial": best.number,
            "values": best.values,
            "n_weights": best.n_weights,
            "epoch": best.folds[0].best_epoch,
            "validation_cosine": score.value,
            "validation_loss": score.loss,
        },
    }
    return SweepRecord(trials, pd.concat(histories, ignore_index=True), summary)


def history(result: TrialResult) -> pd.DataFrame:
    """A row an epoch of a trial that was trained; empty for one that was not."""
    return pd.DataFrame(result.folds[0].history).assign(fold=0) if result.folds else pd.DataFrame()


def numbers(result: TrialResult) -> dict[str, float]:
    """What a trial came to: cosine and loss of its best epoch, and which that was; nothing of a failed one."""
    if result.status == "failed":
        return {}
    score, part = scored(result, COSINE), result.folds[0]
    return {
        COSINE: score.value,
        "validation_loss": score.loss,
        "epochs": len(part.history),
        "best_epoch": part.best_epoch,
    }


def _row(result: TrialResult) -> dict[str, Any]:
    nothing = {COSINE: np.nan, "validation_loss": np.nan, "epochs": 0, "best_epoch": 0}
    return {
        "trial": result.number,
        "status": result.status,
        "reason": result.reason or "",
        "n_weights": result.n_weights,
        "seconds": result.seconds,
        "started": result.started,
        "ended": result.ended,
        **nothing,
        **numbers(result),
        "values": json.dumps(result.values, sort_keys=True),
    }
