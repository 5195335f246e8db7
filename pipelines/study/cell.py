"""One cell in its worker, without Ray: all folds of one model, tested on its own runs and under every condition."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ms2img.ms2toimg.baselines.models import DEFAULTS, PIXELS, WORDS, Baseline
from ms2img.ms2toimg.baselines.preprocessing import Preprocessing
from ms2img.ms2toimg.crossvalidate import FoldTask, run_fold

Rows = Any  # [n, ...]: uint8 images [n, H, W], float64 tables [n, f], or scipy CSR [n, words]


@dataclass(frozen=True, eq=False)
class ConditionRows:
    """Runs that a model is tested on: `rows` [m, ...] as the training rows are, and the accession of each."""

    rows: Rows
    accessions: np.ndarray  # str [m]


@dataclass(frozen=True, eq=False)
class FoldOutcome:
    """What one fold gave: for each condition the tested row numbers and their probabilities; a network's history."""

    fold: int
    rows: dict[str, list[int]]
    probability: dict[str, list[float]]
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float


def run_network_fold(
    images: np.ndarray, target: np.ndarray, task: FoldTask, accessions: np.ndarray, tested: Mapping[str, ConditionRows]
) -> FoldOutcome:
    """Train a network on one fold, as ``ms2img train`` does; `accessions`: str [n], of the images."""
    from ms2img.learn.predict import predict_probabilities
    from ms2img.ms2toimg.cnn import build_cnn

    started = time.perf_counter()
    result, weights = run_fold(images, target, task)
    network = build_cnn(task.cnn, *images.shape[1:], seed=task.fit.seed)
    network.load_state_dict(weights)
    held_out = np.unique(accessions[task.fold.test])
    outcome = {"": (task.fold.test, result.probability)}
    for name, condition in tested.items():
        chosen = np.flatnonzero(np.isin(condition.accessions, held_out))
        if not len(chosen):
            continue  # none of this fold's accessions was measured there
        outcome[name] = chosen, predict_probabilities(network, condition.rows[chosen], threads=task.fit.threads)
    return replace(
        _outcome(task.fold.index, outcome, time.perf_counter() - started),
        history=result.history,
        best_epoch=result.best_epoch,
    )


def run_baseline_fold(
    rows: Rows,
    target: np.ndarray,
    task: FoldTask,
    fitted: Baseline,
    accessions: np.ndarray,
    tested: Mapping[str, ConditionRows],
) -> FoldOutcome:
    """Fit a baseline (`fitted`, which is not yet) on one fold; its preprocessing sees the training rows alone.

    `accessions`: str [n], of the rows.
    """
    started = time.perf_counter()
    fold = task.fold
    fitted.fit(as_matrix(rows[fold.train]), target[fold.train], groups=accessions[fold.train])
    held_out = np.unique(accessions[fold.test])
    outcome = {"": (fold.test, fitted.probability(as_matrix(rows[fold.test])))}
    for name, condition in tested.items():
        chosen = np.flatnonzero(np.isin(condition.accessions, held_out))
        if not len(chosen):
            continue  # none of this fold's accessions was measured there
        outcome[name] = chosen, fitted.probability(as_matrix(condition.rows[chosen]))
    return _outcome(fold.index, outcome, time.perf_counter() - started)


def preprocessing_of(representation: str, model: str) -> Preprocessing:
    """How a baseline's rows are prepared: pixels as they are, words as counts, tables as the model wants them."""
    if representation == "image":
        return PIXELS
    return WORDS if representation == "memo" else DEFAULTS[model]


def as_matrix(rows: Rows) -> Rows:
    """What a baseline learns from: images as pixels 0-1, float64 [n, H x W]; tables and counts as they are."""
    if isinstance(rows, np.ndarray) and rows.dtype == np.uint8:
        return rows.reshape(len(rows), -1) / 255.0
    return rows


def _outcome(fold: int, tested: Mapping[str, tuple[np.ndarray, np.ndarray]], seconds: float) -> FoldOutcome:
    return FoldOutcome(
        fold=fold,
        rows={name: rows.tolist() for name, (rows, _) in tested.items()},
        probability={name: probability.tolist() for name, (_, probability) in tested.items()},
        history=[],
        best_epoch=0,
        seconds=seconds,
    )
