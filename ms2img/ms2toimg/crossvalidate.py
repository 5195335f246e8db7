"""Cross-validation of the CNN in a plain loop: one fold, the final refit, and what they add up to.

`pipelines.folds` runs the same functions in Ray workers; at equal seed, threads and precision both give equal numbers.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ms2img.errors import UsageError
from ms2img.learn.augment import Augmentation
from ms2img.learn.batches import ImageBatches
from ms2img.learn.fit import FitResult, fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import place, resolve_device
from ms2img.learn.predict import predict_probabilities
from ms2img.learn.reporter import Reporter
from ms2img.learn.splits import Fold, stratified_group_folds
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn
from ms2img.ms2toimg.labels import Labels

REFIT = -1  # the fold number of the final refit


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One training: the rows it learns from and is scored on, the network, and how it is trained.

    `keep_weights`: whether the weights are wanted beside the result, when it comes from another process.
    """

    fold: Fold
    cnn: CnnConfig
    fit: FitConfig
    keep_weights: bool = False


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one training gave: `probability` float64 [len(task.fold.test)] of the rows it is scored on."""

    fold: int
    probability: np.ndarray
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    precision: str


def plan_folds(
    labels: Labels, n_folds: int, cnn: CnnConfig, fit: FitConfig, *, validation: bool = True
) -> list[FoldTask]:
    """The trainings of a cross-validation over accessions, each with its own seed derived from `fit.seed`.

    Without `validation` nothing is set aside: what would choose the epoch is trained on too.

    Row numbers are those of `labels`. Raises `UsageError`, with the counts, when a fold would have one class.
    """
    try:
        folds = stratified_group_folds(labels.target, np.array(labels.accessions), n_folds, seed=fit.seed)
    except UsageError as error:
        raise UsageError(f"assay '{labels.config.assay}': {error}") from None
    if not validation:
        folds = [_all_trained(fold) for fold in folds]
    return [FoldTask(fold, cnn, replace(fit, seed=_derived_seed(fit.seed, fold.index))) for fold in folds]


def plan_refit(labels: Labels, results: Sequence[FoldResult], cnn: CnnConfig, fit: FitConfig) -> FoldTask:
    """The final training: all labelled rows, for the median of the folds' best epochs, without a validation part.

    It is scored on the rows between the classes, which no fold has used.
    """
    epochs = max(1, round(statistics.median(result.best_epoch for result in results)))
    used = np.flatnonzero(labels.target >= 0)
    between = np.flatnonzero(labels.target < 0)
    fold = Fold(index=REFIT, train=used, validation=np.empty(0, dtype=np.int64), test=between)
    return FoldTask(
        fold, cnn, replace(fit, epochs=epochs, patience=None, seed=_derived_seed(fit.seed, REFIT)), keep_weights=True
    )


def run_fold(
    images: np.ndarray,
    target: np.ndarray,
    task: FoldTask,
    reporter: Reporter | None = None,
    *,
    resume: str | Path | None = None,
) -> tuple[FoldResult, dict[str, Tensor]]:
    """Train one fold and score its test rows; return the result and the weights that scored them.

    Parameters
    ----------
    images: uint8 [n, H, W], in the order of the labels; may be read-only.
    target: [n] of 0 and 1 in the rows that are trained on.
    reporter: told of every epoch.
    resume: a training state of this task to go on from, see `ms2img.learn.fit.fit`.

    Where `torch.distributed` is initialised with several workers, all of them call this and share every batch; the
    first one's result counts.
    """
    started = time.perf_counter()
    device = resolve_device(task.fit.device)
    shared = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    network = build_cnn(task.cnn, *images.shape[1:], seed=task.fit.seed)
    batches = ImageBatches(
        images,
        target,
        train=task.fold.train,
        validation=task.fold.validation,
        batch_size=task.fit.batch_size,
        seed=task.fit.seed,
        device=device,
        augment=Augmentation.of(task.fit),
        rank=dist.get_rank() if shared else 0,
        world_size=dist.get_world_size() if shared else 1,
    )
    if shared:
        place(network, device)  # DistributedDataParallel wants its module where it will stay
    model = DistributedDataParallel(network) if shared else network
    trained = fit(model, batches, task.fit, reporter, resume=resume)
    network.load_state_dict(trained.weights)
    probability = predict_probabilities(network, images[task.fold.test], threads=task.fit.threads)
    return _result(task, trained, probability, time.perf_counter() - started), trained.weights


def folds_fingerprint(labels: Labels, tasks: Sequence[FoldTask]) -> str:
    """A short hash of which samples are held out together."""
    held_out = sorted("\0".join(labels.sample_ids[row] for row in task.fold.test) for task in tasks)
    return hashlib.blake2b("\n".join(held_out).encode(), digest_size=8).hexdigest()


def _result(task: FoldTask, trained: FitResult, probability: np.ndarray, seconds: float) -> FoldResult:
    return FoldResult(
        fold=task.fold.index,
        probability=probability,
        history=trained.history,
        best_epoch=trained.best_epoch,
        seconds=seconds,
        precision=trained.precision,
    )


def _all_trained(fold: Fold) -> Fold:
    train = np.sort(np.concatenate([fold.train, fold.validation]))
    return replace(fold, train=train, validation=np.empty(0, dtype=np.int64))


def _derived_seed(seed: int, fold: int) -> int:
    """A seed of its own for every fold, so that folds differ in their initial weights too."""
    return int(np.random.SeedSequence((seed, fold - REFIT)).generate_state(1)[0])


def result_to_json(result: FoldResult) -> dict[str, Any]:
    """The result as plain lists and numbers, exact: how it travels between processes."""
    return {**vars(result), "probability": result.probability.tolist()}


def result_from_json(told: dict[str, Any]) -> FoldResult:
    """The inverse of `result_to_json`."""
    return FoldResult(**{**told, "probability": np.array(told["probability"], dtype=np.float64)})
