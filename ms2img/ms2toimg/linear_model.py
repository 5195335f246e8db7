"""A linear model of the pixels, each on its own scale: what a convolutional network of few accessions has to beat.

A pixel is a pair of precursor and fragment m/z, so a weight a pixel is a weight a fragmentation. A network whose
convolutions see every place alike needs more accessions to learn the same; together they are better than either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEARNING_RATE, EPSILON, WEIGHT_DECAY = 1e-2, 0.1, 1.0  # of Adam (ours)
FLOOR = 0.06  # of a pixel's standard deviation (ours): a pixel that is nearly always black is not blown up beyond this


class LinearModel(nn.Module):
    """Grey images [n, 1, height, width] in 0-1 -> logits [n] of being active.

    It asks for steps of its own (see `ms2img.learn.fit`). Adam's are as long for a pixel that says nothing as for one
    that tells the classes apart; an epsilon above every gradient makes them gradient descent with momentum, which
    stays near the solution of least norm, as ridge and logistic regression do.

    Parameters
    ----------
    share: of the training loss that is this model's, so that the steps do not depend on the models beside it.
    """

    def __init__(self, height: int, width: int, *, share: float = 1.0) -> None:
        super().__init__()
        self.adam_options = {"lr": LEARNING_RATE, "eps": EPSILON * share, "weight_decay": WEIGHT_DECAY}
        self.scale = PixelScale(height * width)
        self.output = nn.Linear(height * width, 1)

    def reset(self) -> None:
        """All weights 0: a pixel that no training image lights keeps none."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.scale.reset()

    def forward(self, images: Tensor) -> Tensor:
        """Images float [n, 1, height, width] -> logits [n]."""
        return self.output(self.scale(images.flatten(1))).squeeze(1)


class PixelScale(nn.Module):
    """Pixels [n, p] -> (pixels - mean) / sd, by the mean and spread of every image seen in training so far.

    Unlike batch normalisation it needs no second image in a batch, and gives the same in training and afterwards.
    """

    needs_whole_batch = True  # its mean and spread count a batch before scaling it

    seen: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("total", torch.zeros(pixels))
        self.register_buffer("squares", torch.zeros(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels float [n, p] -> the same shape; an image seen in training counts before it is scaled."""
        if self.training:
            with torch.no_grad():
                self.seen += len(pixels)
                self.total += pixels.sum(0)
                self.squares += pixels.square().sum(0)
        seen = self.seen.clamp(min=1)
        mean = self.total / seen
        variance = (self.squares / seen - mean.square()).clamp(min=0)
        return (pixels - mean) * torch.rsqrt(variance + FLOOR**2)

    def reset(self) -> None:
        """Forget every image."""
        for buffer in (self.seen, self.total, self.squares):
            buffer.zero_()
