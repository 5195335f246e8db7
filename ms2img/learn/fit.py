"""The one training loop: Adam on an objective, and the weights of the best epoch.

It runs unchanged in a notebook, in a Ray worker and, when `torch.distributed` is initialised and the caller wraps the
model in `DistributedDataParallel`, as one of several workers that average their gradients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ms2img.errors import UsageError
from ms2img.learn.batches import AnyBatch, Batches
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import freed_memory_kept, place, resolve_device, resolve_precision, torch_threads
from ms2img.learn.objective import BinaryObjective, Objective
from ms2img.learn.randomness import own_random_state, seed_epoch
from ms2img.learn.reporter import Reporter, Silent
from ms2img.learn.schedule import rate_factor

BatchT = TypeVar("BatchT", bound=AnyBatch)


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
    batches: Batches[BatchT],
    config: FitConfig,
    reporter: Reporter | None = None,
    *,
    resume: str | Path | None = None,
    objective: Objective[BatchT] | None = None,
    max_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> FitResult:
    """Train `model` in place.

    Equal seeds give equal weights on the same machine with the same number of threads and workers; torch's global
    random state is left as it was. The epoch is chosen by validation loss, not accuracy (ours): on the few accessions
    of a validation part, accuracy ties for many epochs.

    Parameters
    ----------
    model: a module of it may ask for steps of its own by an attribute ``adam_options``; all else takes the config's.
        Moved to `config.device` here, unless it is a `DistributedDataParallel`, which its caller has placed.
    reporter: told of every epoch; None for nobody.
    resume: a file written by `TrainingState.save` under the same config; training goes on after its epoch, if it had
        not come to its end there.
    objective: what is made small; None: `BinaryObjective`, for a model of images ([b, 1, H, W] in 0-1 -> logits [b], or
        [members, b] while it trains).
    max_seconds: end with the first epoch that leaves the training older than this, counted over interruptions; where
        that falls depends on the machine. None: no such end.
    clock: what measures them, `time.process_time` where other work on the machine is not to shorten a budget.

    Raises `UsageError` when `resume` does not fit or micro-batches would change what the model learns,
    `FloatingPointError` when the loss is no longer finite.
    """
    started = clock()
    reporter = reporter or Silent()
    aim = objective if objective is not None else cast("Objective[BatchT]", BinaryObjective())
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    distributed = isinstance(model, DistributedDataParallel)
    bare: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    _check_micro_batch(bare, config)
    if not distributed:
        place(model, device)
    optimizer = _optimizer(model, config)
    state = TrainingState(model=bare, optimizer=optimizer, config=config)
    if resume is not None:
        state.restore(resume)
    before = state.seconds
    rates = [group["lr"] for group in optimizer.param_groups]
    # A training that was cut off between its last epoch and its result has nothing left to do.
    first = config.epochs + 1 if state.epoch and _has_ended(state, max_seconds) else state.epoch + 1
    with torch_threads(config.threads), freed_memory_kept(), own_random_state(device):
        for epoch in range(first, config.epochs + 1):
            _set_rates(optimizer, rates, rate_factor(config, epoch, state.history))
            row = {"epoch": epoch, **_train_epoch(model, optimizer, batches, epoch, config, precision, aim)}
            row |= _validate(bare, batches, precision, aim)
            _record(state, epoch, row)
            state.seconds = before + clock() - started
            reporter.epoch(row)
            reporter.checkpoint(state)
            ended = reporter.should_stop() or _has_ended(state, max_seconds)
            if _agreed(ended, device=device, distributed=distributed):
                break
    return FitResult(
        weights=state.best_weights or _copied(bare),
        best_epoch=state.best_epoch or state.epoch,
        history=state.history,
        seconds=clock() - started,
        precision=str(precision).removeprefix("torch."),
    )


def _optimizer(model: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        _parameter_groups(model),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,  # one pass over the weights: a fifth of the time of the default on a CPU
    )


def _set_rates(optimizer: torch.optim.Optimizer, rates: list[float], factor: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


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
    batches: Batches[BatchT],
    epoch: int,
    config: FitConfig,
    precision: torch.dtype,
    aim: Objective[BatchT],
) -> dict[str, float]:
    """One pass over the training part; its mean loss and measures per example, as the model was while it saw them.

    Dropout is on, and weights change from batch to batch: what Keras reports, and MS2toImg's Table 1 draws.
    """
    distributed = isinstance(model, DistributedDataParallel)
    seed_epoch(config.seed, epoch, rank=dist.get_rank() if distributed else 0)
    model.train()
    # Loss and measures, summed; read once: reading in a step waits for the step.
    total = torch.zeros(1 + len(aim.measures), device=next(model.parameters()).device)
    examples = 0
    taken = max((int(moments["step"]) for moments in optimizer.state.values()), default=0)
    for step, batch in enumerate(batches.train(epoch), start=taken + 1):
        parts = [batch] if config.micro_batch is None else aim.parts(batch, config.micro_batch)
        for number, part in enumerate(parts, start=1):
            # Workers average their gradients once a batch: their parts may differ in number.
            alone = isinstance(model, DistributedDataParallel) and number < len(parts)
            with model.no_sync() if alone else nullcontext():  # type: ignore[operator]
                loss, *measured = aim.losses(model, part, precision)
                loss = loss * part.weight
                loss.backward()  # type: ignore[no-untyped-call]
            total += torch.stack([loss.detach(), *(value * part.weight for value in measured)]) * batch.size
        _take_step(model, optimizer, config, step)
        examples += batch.size
    if distributed:
        dist.all_reduce(total)
        examples *= dist.get_world_size()
    mean, *measures = (value / examples for value in total.tolist())
    if not math.isfinite(mean):
        raise FloatingPointError(f"epoch {epoch}: the training loss is {mean}; a lower learning rate may help")
    told = zip(aim.measures, measures, strict=True)
    return {"train_loss": mean, **{f"train_{name}": value for name, value in told}}


def _take_step(model: nn.Module, optimizer: torch.optim.Optimizer, config: FitConfig, step: int) -> None:
    if config.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
    _place_epsilon(optimizer, config.adam_epsilon, step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _place_epsilon(optimizer: torch.optim.Optimizer, epsilon: float, step: int) -> None:
    """Make a step (from 1) Adam's as Keras takes it: epsilon is added to the root of the second moment as it is.

    torch adds it after the correction for the moment's start at 0. In a dense layer of millions of weights gradients
    are as small as epsilon, and the two part from the first step on.
    """
    group = optimizer.param_groups[0]  # modules that ask for steps of their own stand behind it, see _parameter_groups
    group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** step)


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


def _validate(
    model: nn.Module, batches: Batches[BatchT], precision: torch.dtype, aim: Objective[BatchT]
) -> dict[str, float]:
    """What is told of the validation part; empty where there is none."""
    model.eval()
    with torch.inference_mode():
        return aim.validate(model, batches.validation(), precision)


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


def _has_ended(state: TrainingState, max_seconds: float | None) -> bool:
    """Whether patience or time has run out."""
    patience = state.config.patience
    if patience is not None and state.best_epoch > 0 and state.epoch - state.best_epoch >= patience:
        return True
    return max_seconds is not None and state.seconds >= max_seconds


def _agreed(stop: bool, *, device: torch.device, distributed: bool) -> bool:
    """The first worker's decision on every worker."""
    if not distributed:
        return stop
    decision = torch.tensor([int(stop)], device=device)
    dist.broadcast(decision, src=0)
    return bool(decision.item())
