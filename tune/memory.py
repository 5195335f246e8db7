"""Which trials fit where: the memory a trial takes, the part of a batch that makes it fit, and what Ray is asked for.

A trial that cannot fit is told so by name before anything starts; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import resolve_device, resolve_precision
from ms2img.learn.memory import training_peak
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import CnnConfig, network_of
from tune.trial import Trial

GIB = 2**30
#: A Ray worker that has trained a network of no size: Python, torch, Ray and what they load lazily (measured, 474 MiB).
WORKER = 480 * 2**20
COPIES = 5  # of all weights, however small the batch: weights, gradients, two moments, the best epoch's


def plan_trial(
    number: int,
    values: Mapping[str, Any],
    cnn: CnnConfig,
    fit: FitConfig,
    *,
    height: int,
    width: int,
    folds: Sequence[Fold],
    limit: int | None = None,
) -> Trial:
    """The trial with its size: as configured if that fits into `limit` bytes, else its batches in smaller parts.

    Gradients summed over parts are those of the batch, except where images are scaled by what is in their batch
    (batch normalisation, the linear member): there no part is taken. A trial that fits in no way comes back `refused`,
    with the reason.
    """
    with torch.device("meta"):
        try:
            network = network_of(cnn, height, width)
        except UsageError as error:
            return Trial(number, dict(values), cnn, fit, n_weights=0, memory=0, refused=f"trial {number}: {error}")
    n_weights = sum(weight.numel() for weight in network.parameters())
    precision = resolve_precision(fit.precision, resolve_device(fit.device))
    fixed = WORKER + _image_bytes(folds, height * width)
    needed = []
    for micro_batch in _parts(cnn, fit, None if limit is None else limit - fixed, n_weights):
        peak = fixed + training_peak(
            network,
            height,
            width,
            batch=fit.batch_size,
            micro_batch=micro_batch,
            validated=max(len(fold.validation) for fold in folds),
            tested=max(len(fold.test) for fold in folds),
            precision=precision,
        )
        if limit is None or peak <= limit:
            fit = replace(fit, micro_batch=micro_batch)
            return Trial(number, dict(values), cnn, fit, n_weights=n_weights, memory=peak)
        needed.append(peak)
    memory = min(needed)
    reason = f"trial {number}: {_described(cnn, height, width, n_weights)} and needs {_gib(memory)}"
    reason += f"; this worker has {_gib(limit or 0)}"
    return Trial(number, dict(values), cnn, fit, n_weights=n_weights, memory=memory, refused=reason)


def memory_requests(trials: Sequence[Trial], available: int, concurrent: int) -> dict[int, int]:
    """Bytes that Ray is asked for, by the number of each trial that is not refused.

    One size for all where `concurrent` of the largest fit into `available` bytes beside each other: Ray's worker then
    goes from trial to trial and keeps its images. Else the power of two GiB above each, so that there are few sizes.
    """
    needed = {trial.number: trial.memory for trial in trials if trial.refused is None}
    largest = max(needed.values(), default=0)
    if largest * concurrent <= available:
        return dict.fromkeys(needed, largest)
    return {number: max(memory, min(_power_of_two(memory), available)) for number, memory in needed.items()}


def _parts(cnn: CnnConfig, fit: FitConfig, limit: int | None, n_weights: int) -> list[int | None]:
    """How many images of a batch to take at a time, the best first: all (None), a half, a quarter, ... one.

    `limit`: bytes for the training alone.
    """
    parts: list[int | None] = [fit.micro_batch]
    if limit is None or cnn.batch_norm or cnn.linear_member or COPIES * 4 * n_weights > limit:
        return parts
    part = fit.micro_batch or fit.batch_size
    while part > 1:
        part = -(-part // 2)
        parts.append(part)
    return parts


def _image_bytes(folds: Sequence[Fold], pixels: int) -> int:
    """All images, shared, and a fold's own, twice while they are picked."""
    own = max(len(fold.train) + len(fold.validation) for fold in folds)
    shared = max(len(fold.train) + len(fold.validation) + len(fold.test) for fold in folds)
    return pixels * (shared + 2 * own)


def _power_of_two(memory: int) -> int:
    return GIB << max(0, (-(-memory // GIB) - 1).bit_length())


def _described(cnn: CnnConfig, height: int, width: int, n_weights: int) -> str:
    layers = f"{cnn.conv_layers} conv layer{'s' if cnn.conv_layers > 1 else ''} of {cnn.filters} filters"
    return f"{height}x{width} with {layers} and {cnn.units} units holds {_millions(n_weights)} weights"


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count < 1e9 else f"{count:,}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
