"""Labels, folds and results of trials that were never trained, with scores one can choose; nothing here is a test."""

from __future__ import annotations

from typing import Any

import numpy as np

from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask, plan_folds
from ms2img.ms2toimg.labels import LabelConfig, Labels
from tune.trial import Status, TrialResult

CNN = CnnConfig(conv_layers=1, filters=2, dense_layers=1, units=4)


def sweep_labels(accessions: int = 20, replicates: int = 2, *, target: np.ndarray | None = None) -> Labels:
    """Accessions of alternating classes (or of `target` [accessions]), each with so many runs."""
    per_accession = np.arange(accessions) % 2 if target is None else target
    per_run = np.repeat(per_accession, replicates).astype(np.int64)
    names = [f"acc{index:03d}" for index in range(accessions) for _ in range(replicates)]
    return Labels(
        config=LabelConfig(assay="dpph"),
        sample_ids=tuple(f"{name}/run-{index % replicates}" for index, name in enumerate(names)),
        accessions=tuple(names),
        value=10.0 + 20 * per_run,
        scaled=per_run.astype(np.float64),
        target=per_run,
        value_min=10.0,
        value_max=30.0,
        without_image=(),
    )


def sweep_tasks(labels: Labels, folds: int = 5) -> list[FoldTask]:
    """The folds of any trial."""
    return plan_folds(labels, folds, CNN, FitConfig(epochs=3))


def fold_result(
    task: FoldTask, accuracy: float, loss: float = 0.5, *, probability: np.ndarray | None = None, epochs: int = 3
) -> FoldResult:
    """A fold whose best epoch is the second, with this validation accuracy and loss; the other epochs lose more."""
    history = [
        {
            "epoch": epoch,
            "train_loss": 0.6,
            "validation_loss": loss if epoch == 2 else loss + 1,
            "validation_accuracy": accuracy if epoch == 2 else 1.0,
            "validation_auc": 0.5,
        }
        for epoch in range(1, epochs + 1)
    ]
    given = np.full(len(task.fold.test), 0.75) if probability is None else probability
    return FoldResult(task.fold.index, given, history, best_epoch=2, seconds=1.0, precision="float32")


def trial_result(
    number: int,
    folds: list[FoldResult],
    *,
    status: Status = "finished",
    reason: str | None = None,
    n_weights: int = 100,
    values: dict[str, Any] | None = None,
) -> TrialResult:
    """A trial that ran for ten seconds, its turn after its number."""
    return TrialResult(
        number=number,
        values={"units": number + 1} if values is None else values,
        status=status,
        reason=reason,
        n_weights=n_weights,
        folds=folds,
        seconds=10.0,
        started=10.0 * number,
        ended=10.0 * number + 10,
    )
