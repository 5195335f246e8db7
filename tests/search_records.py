"""A made-up search, put together by the functions that put together a real one; nothing here is a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from report_pages import example_image
from report_pages import make_record as make_cv_record

from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import PRESETS
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask, plan_folds
from ms2img.ms2toimg.labels import LabelConfig, Labels
from ms2img.ms2toimg.record import CvRecord
from pipelines.report.facts import ABOUT
from tune.record import SweepRecord, nested_record, sweep_record
from tune.space import Space
from tune.trial import TrialResult

EPOCHS = 6
REASON = "predicted to need 3.1 GB, 2.0 GB are free"


def make_search(
    n: int = 12,
    *,
    space: Space | str = "paper",
    folds: int = 3,
    failed: tuple[int, ...] = (),
    stopped_at: Mapping[int, int] | None = None,
    simulated: bool = False,
    skill: float | None = None,
    reason: str = REASON,
    seed: int = 0,
) -> tuple[SweepRecord, CvRecord]:
    """The record of a search, and of the nested cross-validation that came of it.

    `stopped_at`: trial -> epoch after which the scheduler stopped it. `skill`: of every trial, each its own where None.
    """
    space = Space.load(space) if isinstance(space, str) else space
    labels = make_labels()
    tasks = plan_folds(labels, folds, PRESETS["small"], FitConfig(epochs=EPOCHS))
    rng = np.random.default_rng(seed)
    results = []
    for number in range(n):
        result = _result(rng, space, labels, tasks, number, rng.uniform(0, 1.0) if skill is None else skill)
        if number in failed:
            result = replace(result, status="failed", reason=reason, folds=[])
        elif number in (stopped_at or {}):
            result = _stopped(result, stopped_at[number])
        results.append(result)
    told = {
        "space": space.to_dict(),
        "seed": seed,
        "epochs": EPOCHS,
        "searcher": "random",
        "scheduler": "asha" if stopped_at else "fifo",
        "assay": "dpph",
        "simulated": simulated,
        "seconds": 10.0 * n + 9.0,
    }
    search = sweep_record(labels, tasks, results, told)
    images = np.stack([example_image(np.random.default_rng(0), 24, 24)] * len(labels.sample_ids))
    plain = make_cv_record(simulated=simulated).summary
    about = {name: plain[name] for name in ABOUT} | {"preset": f"sweep {space.name}"}
    refit = FoldResult(-1, np.full(int((labels.target < 0).sum()), 0.5), [], 1, 1.0, "float32")
    return search, nested_record(labels, images, tasks, results, refit=refit, refit_epochs=4, about=about)


def make_labels(n: int = 40) -> Labels:
    """`n` accessions in two runs each, values from 5 to 85, thresholds 0.4 and 0.6."""
    scaled = np.repeat(np.linspace(0, 1, n), 2)
    return Labels(
        config=LabelConfig(assay="dpph"),
        sample_ids=tuple(f"S{i:03d}" for i in range(2 * n)),
        accessions=tuple(f"A{i // 2:03d}" for i in range(2 * n)),
        value=5 + 80 * scaled,
        scaled=scaled,
        target=np.select([scaled < 0.4, scaled > 0.6], [0, 1], -1).astype(np.int8),
        value_min=5.0,
        value_max=85.0,
        without_image=(),
    )


def _result(
    rng: np.random.Generator, space: Space, labels: Labels, tasks: list[FoldTask], number: int, skill: float
) -> TrialResult:
    """A finished trial; two run at a time, for 19 seconds each."""
    folds = [_fold(rng, labels, task, skill) for task in tasks]
    at = 10.0 * number
    return TrialResult(
        number, space.sample(0, number), "finished", None, 1000 + 37 * number, folds, 19.0, at, at + 19.0
    )


def _fold(rng: np.random.Generator, labels: Labels, task: FoldTask, skill: float) -> FoldResult:
    """Curves and outer predictions of one fold; higher skill separates the classes better."""
    loss = 0.7 * np.exp(-skill * np.arange(1, EPOCHS + 1) / 8) + rng.normal(0, 0.02, EPOCHS)
    accuracy = np.round(np.clip(1 - loss / 1.5 + rng.normal(0, 0.03, EPOCHS), 0, 1) * 12) / 12
    history = [
        {
            "epoch": epoch + 1,
            "train_loss": float(loss[epoch] - 0.05),
            "validation_loss": float(loss[epoch]),
            "validation_accuracy": float(accuracy[epoch]),
            "validation_auc": float(np.clip(accuracy[epoch] + 0.05, 0, 1)),
        }
        for epoch in range(EPOCHS)
    ]
    sign = 2.0 * labels.target[task.fold.test] - 1
    probability = 1 / (1 + np.exp(-skill * sign - rng.normal(0, 1.0, len(sign))))
    return FoldResult(task.fold.index, probability, history, int(loss.argmin()) + 1, 6.0, "float32")


def _stopped(result: TrialResult, at: int) -> TrialResult:
    folds = []
    for fold in result.folds:
        history = fold.history[:at]
        best = min(history, key=lambda row: row["validation_loss"])["epoch"]
        folds.append(replace(fold, history=history, best_epoch=int(best), probability=np.empty(0)))
    return replace(result, status="stopped", folds=folds)
