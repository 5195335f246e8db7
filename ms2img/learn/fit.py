"""The one training loop: Adam on binary cross-entropy, and the weights of the best epoch.

It runs unchanged in a notebook, in a Ray worker and, when `torch.distributed` is initialised and the caller wraps the
model in `DistributedDataParallel`, as one of several workers that average their gradients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from ms2img.errors import UsageError
from ms2img.learn.batches import Batch, Batches
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import freed_memory_kept, place, resolve_device, resolve_precision, torch_threads
from ms2img.learn.metrics import binary_metrics
from ms2img.learn.reporter import Reporter, Silent


@dataclass(frozen=True)
class FitResult:
    """What a training gave.

    ``weights`` (on the CPU) are those of ``best_epoch``: the first with the lowest validation loss, or the last epoch
    where there is no validation part or the config keeps the last. ``history`` has a row an epoch: `Reporter.epoch`.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]
    seconds: float
    precision: str


def fit(
    model: nn.Module,
    batches: Batches,
    config: FitConfig,
    reporter: Reporter | None = None,
    *,
    resume: str | Path | None = None,
) -> FitResult:
    """Train `model` ([b, 1, H, W] in 0-1 -> logits [b], or [members, b] while it trains) in place.

    Equal seeds give equal weights on the same machine with the same number of threads and workers; torch's global
    random state is left as it was. The epoch is chosen by validation loss, not accuracy (ours): on the few accessions
    of a validation part, accuracy ties for many epochs.

    Parameters
    ----------
    model: a module of it may ask for steps of its own by an attribute ``adam_options``; all else takes the config's.
        Moved to `config.device` here, unless it is a `DistributedDataParallel`, which its caller has placed.
    reporter: told of every epoch; None for nobody.
    resume: a file written by `TrainingState.save` under the same config; training goes on after its epoch.

    Raises `UsageError` when `resume` does not fit or micro-batches would change what the model learns,
    `FloatingPointError` when the loss is no longer finite.
    """
    started = time.perf_counter()
    reporter = reporter or Silent()
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    distributed = isinstance(model, DistributedDataParallel)
    bare: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    _check_micro_batch(bare, config)
    if not distributed:
        place(model, device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,  # one pass over the weights: a fifth of the time of the default on a CPU
    )
    state = TrainingState(model=bare, optimizer=optimizer, config=config)
    if resume is not None:
        state.restore(resume)
    with torch_threads(config.threads), freed_memory_kept(), _own_random_state(device):
        for epoch in range(state.epoch + 1, config.epochs + 1):
            row = {"epoch": epoch, **_train_epoch(model, optimizer, batches, epoch, config, precision)}
            row |= _validate(bare, batches.validation(), precision)
            _record(state, epoch, row)
            reporter.epoch(row)
            reporter.checkpoint(state)
            if _agreed(reporter.should_stop() or _out_of_patience(state), device=device, distributed=distributed):
                break
    return FitResult(
        weights=state.best_weights or _copied(bare),
        best_epoch=state.best_epoch or state.epoch,
        history=state.history,
        seconds=time.perf_counter() - started,
        precision=str(precision).removeprefix("torch."),
    )


def _parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """First the weights that take the config's steps, then those of each module that has ``adam_options`` (lr, eps)."""
    groups: list[dict[str, Any]] = [
        {"params": list(module.parameters()), **cast("dict[str, float]", module.adam_options)}
        for module in model.modules()
        if hasattr(module, "adam_options")
    ]
    apart = {id(weight) for group in groups for weight in group["params"]}
    return [{"params": [weight for weight in model.parameters() if id(weight) not in apart]}, *groups]


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    epoch: int,
    config: FitConfig,
    precision: torch.dtype,
) -> dict[str, float]:
    """One pass over the training part; its mean loss and accuracy per image, as the model was while it saw them.

    Dropout is on, and weights change from batch to batch: what Keras reports, and MS2toImg's Table 1 draws.
    """
    distributed = isinstance(model, DistributedDataParallel)
    _seed_epoch(config.seed, epoch, rank=dist.get_rank() if distributed else 0)
    model.train()
    # Loss and right calls, summed; read once: reading in a step waits for the step.
    total = torch.zeros(2, device=next(model.parameters()).device)
    images = 0
    taken = max((int(moments["step"]) for moments in optimizer.state.values()), default=0)
    for step, batch in enumerate(batches.train(epoch), start=taken + 1):
        parts = _micro_batches(batch, config.micro_batch)
        for number, part in enumerate(parts, start=1):
            # Workers average their gradients once a batch: their parts may differ in number.
            alone = isinstance(model, DistributedDataParallel) and number < len(parts)
            with model.no_sync() if alone else nullcontext():  # type: ignore[operator]
                loss, right = _loss(model, part, precision)
                loss = loss * part.weight
                loss.backward()  # type: ignore[no-untyped-call]
            total += torch.stack([loss.detach(), right * part.weight]) * batch.size
        _place_epsilon(optimizer, config.adam_epsilon, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        images += batch.size
    if distributed:
        dist.all_reduce(total)
        images *= dist.get_world_size()
    mean, accuracy = (value / images for value in total.tolist())
    if not math.isfinite(mean):
        raise FloatingPointError(f"epoch {epoch}: the training loss is {mean}; a lower learning rate may help")
    return {"train_loss": mean, "train_accuracy": accuracy}


def _place_epsilon(optimizer: torch.optim.Optimizer, epsilon: float, step: int) -> None:
    """Make a step (from 1) Adam's as Keras takes it: epsilon is added to the root of the second moment as it is.

    torch adds it after the correction for the moment's start at 0. In a dense layer of millions of weights gradients
    are as small as epsilon, and the two part from the first step on.
    """
    group = optimizer.param_groups[0]  # modules that ask for steps of their own stand behind it, see _parameter_groups
    group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** step)


def _micro_batches(batch: Batch, size: int | None) -> list[Batch]:
    """The batch in parts of at most `size` images, weighted so that their losses add up to the whole batch's."""
    n = len(batch.images)
    if size is None or size >= n:
        return [batch]
    return [
        Batch(images, targets, batch.size, batch.weight * len(images) / n)
        for images, targets in zip(torch.split(batch.images, size), torch.split(batch.targets, size), strict=True)
    ]


def _check_micro_batch(model: nn.Module, config: FitConfig) -> None:
    """`UsageError` where a sum over micro-batches would not be the whole batch's gradient."""
    if config.micro_batch is None or config.micro_batch >= config.batch_size:
        return
    if any(_needs_whole_batch(module) for module in model.modules()):
        raise UsageError(
            f"micro_batch: {config.micro_batch} is less than the batch of {config.batch_size}, but a normalisation by "
            "what is in the batch needs it whole; lower batch_size instead"
        )


def _needs_whole_batch(module: nn.Module) -> bool:
    """Whether what a module makes of an image depends on the images beside it; ours say so."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "needs_whole_batch", False)


def _loss(model: nn.Module, batch: Batch, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy of a batch in float32, and the share called rightly; over all members of a model."""
    with torch.autocast(batch.images.device.type, dtype=precision, enabled=precision != torch.float32):
        logits = model(batch.images)
    targets = batch.targets.expand_as(logits)
    right = ((logits.detach() >= 0) == (targets > 0.5)).float().mean()
    return functional.binary_cross_entropy_with_logits(logits.float(), targets), right


def _validate(model: nn.Module, validation: Iterator[Batch], precision: torch.dtype) -> dict[str, float]:
    """Loss, accuracy and AUC on the validation part; empty where there is none."""
    logits, targets = [], []
    model.eval()
    with torch.inference_mode():
        for batch in validation:
            with torch.autocast(batch.images.device.type, dtype=precision, enabled=precision != torch.float32):
                logits.append(model(batch.images).float())
            targets.append(batch.targets)
        if not logits:
            return {}
        logit, target = torch.cat(logits), torch.cat(targets)
        loss = float(functional.binary_cross_entropy_with_logits(logit, target))
        probability = torch.sigmoid(logit).cpu().numpy()
    if not np.isfinite(probability).all():
        raise FloatingPointError("the validation predictions are not finite; a lower learning rate may help")
    metrics = binary_metrics(target.cpu().numpy(), probability)
    return {"validation_loss": loss, "validation_accuracy": metrics.accuracy, "validation_auc": metrics.roc_auc}


def _record(state: TrainingState, epoch: int, row: dict[str, float]) -> None:
    """Add an epoch to the history and, when it is the best so far, keep its weights."""
    state.epoch = epoch
    state.history.append(row)
    if state.config.keep == "last":
        state.best_epoch = epoch
    elif row.get("validation_loss", math.inf) < state.best_loss:
        state.best_epoch, state.best_loss = epoch, row["validation_loss"]
        state.best_weights = _copied(state.model, state.best_weights)


def _copied(model: nn.Module, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The model's state on the CPU; in the memory of an earlier copy where there is one, which spares its pages."""
    if not into:
        return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
    for name, value in model.state_dict().items():
        into[name].copy_(value)
    return into


def _out_of_patience(state: TrainingState) -> bool:
    patience = state.config.patience
    return patience is not None and state.best_epoch > 0 and state.epoch - state.best_epoch >= patience


def _agreed(stop: bool, *, device: torch.device, distributed: bool) -> bool:
    """The first worker's decision on every worker."""
    if not distributed:
        return stop
    decision = torch.tensor([int(stop)], device=device)
    dist.broadcast(decision, src=0)
    return bool(decision.item())


def _seed_epoch(seed: int, epoch: int, *, rank: int) -> None:
    """Make an epoch's dropout a function of seed, epoch and worker: a resumed training then needs no saved state."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextmanager
def _own_random_state(device: torch.device) -> Iterator[None]:
    """Give torch's global random state back as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
