"""How much memory a training will take, told before it starts: the network is run without data, its tensors counted."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from ms2img.learn.batches import EVALUATION_BATCH
from ms2img.learn.tensor_bytes import TensorBytes

# What kernels use as scratch, and freed memory that `hardware.freed_memory_kept` keeps in pieces of the wrong size: so
# many forward passes, and half the weights (all in bfloat16, whose copies come and go). Fitted to real trainings at
# 75x70 and 150x140 under `environment.ENVIRONMENT`: the whole is then -9 to +16 % off (tests/test_sweep_memory.py).
FORWARDS = 1.7
LEAST = 16 * 2**20


def training_peak(
    network: nn.Module,
    height: int,
    width: int,
    *,
    batch: int,
    micro_batch: int | None,
    validated: int,
    tested: int,
    precision: torch.dtype,
) -> int:
    """Bytes that `ms2img.learn.fit.fit` and the scoring of test rows take at most, on top of process and images.

    Weights, gradients, the two moments of Adam, the best epoch's weights, activations and scratch; for a training on
    the CPU. Images that are empty in places may need less, never more.

    Parameters
    ----------
    network: [b, 1, height, width] -> logits, built under ``torch.device("meta")``.
    batch: images of a batch; `micro_batch`: as in `FitConfig`.
    validated, tested: images scored after every epoch, and at the end.
    precision: of matrix products and convolutions while training.
    """
    weights = sum(weight.nbytes for weight in network.parameters())
    kept = 3 * weights  # the two moments and the best weights
    at_a_time = min(batch, micro_batch or batch)

    scored = max(at_a_time, min(max(validated, tested), EVALUATION_BATCH))

    def live(images: int, dtype: torch.dtype, **how: bool) -> int:
        return _live(network, (images, 1, height, width), dtype, **how)

    forward = live(scored, torch.float32) - weights  # activations of a forward pass that keeps nothing
    pieces = weights // 2 if precision == torch.float32 else weights
    scratch = LEAST + int(FORWARDS * forward) + pieces
    step = live(at_a_time, precision, gradients=True, accumulate=at_a_time < batch)
    return kept + max(step, weights + forward) + scratch


def _live(
    network: nn.Module,
    shape: tuple[int, ...],
    precision: torch.dtype,
    *,
    gradients: bool = False,
    accumulate: bool = False,
) -> int:
    """Most bytes of weights, gradients and activations at once in a pass over images of `shape`."""
    network.train(gradients)
    count = TensorBytes()
    with torch.set_grad_enabled(gradients), count:
        images = torch.empty(shape, device="meta")
        count.add(network.parameters())
        for weight in network.parameters():
            weight.grad = torch.empty_like(weight) if accumulate else None
        if precision == torch.float32:
            logits = network(images)
        else:  # as autocast: the weights have copies in this precision until the backward pass is through
            casts = {name: weight.to(precision) for name, weight in network.named_parameters()}
            logits = functional_call(network, casts, (images.to(precision),))
            del casts
        if gradients:
            logits.sum().backward()
    for weight in network.parameters():
        weight.grad = None
    return count.peak
