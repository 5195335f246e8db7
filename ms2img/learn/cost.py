"""What a training step costs, in operations and bytes: counted on the network run without data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ms2img.learn.tensor_bytes import TensorBytes

ADAM_TENSORS = 7  # read: weights, gradient, both moments; written: weights, both moments


class Cost(NamedTuple):
    """Floating-point operations of convolutions and matrix products, and bytes to and from memory."""

    operations: float
    bytes: float


def step_cost(network: nn.Module, height: int, width: int, images: int) -> Cost:
    """Of one optimiser step on a batch of so many images; `network` is built under ``torch.device("meta")``."""
    weights = sum(weight.nbytes for weight in network.parameters())
    operations, made = _counted(network, (images, 1, height, width), gradients=True)
    return Cost(operations, 2 * made + ADAM_TENSORS * weights)


def scoring_cost(network: nn.Module, height: int, width: int, images: int) -> Cost:
    """Of predicting so many images."""
    if images == 0:
        return Cost(0, 0)
    operations, made = _counted(network, (images, 1, height, width), gradients=False)
    return Cost(operations, 2 * made)


def _counted(network: nn.Module, shape: tuple[int, ...], *, gradients: bool) -> tuple[int, int]:
    from torch.utils.flop_counter import FlopCounterMode

    network.train(gradients)
    count, operations = TensorBytes(), FlopCounterMode(display=False)
    with torch.set_grad_enabled(gradients), operations, count:
        logits = network(torch.empty(shape, device="meta"))
        if gradients:
            logits.sum().backward()
    for weight in network.parameters():
        weight.grad = None
    return operations.get_total_flops(), count.made
