"""Augmentation of training images: the ways in which a second injection of the same extract would look different.

A column of an image is a bin of precursor m/z, a row a bin of fragment m/z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ms2img.learn.fit_config import FitConfig

_STREAM = 1  # spawn key: keeps these random numbers apart from those of the batch order


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image; the fields are those of `FitConfig`, and ours.

    Each image draws its own changes from the seed, the epoch and its place in the epoch's order, and from nothing
    else: not from the batch size, not from the number of workers.
    """

    seed: int
    shift: int = 0
    drop_precursors: float = 0.0
    drop_pixels: float = 0.0
    intensity_jitter: float = 0.0

    @classmethod
    def of(cls, config: FitConfig) -> Self | None:
        """The augmentation that a training config asks for; None for none."""
        asked = cls(config.seed, config.shift, config.drop_precursors, config.drop_pixels, config.intensity_jitter)
        return None if asked == cls(config.seed) else asked

    def __call__(self, images: Tensor, *, epoch: int, places: np.ndarray) -> Tensor:
        """New images of the same shape, in 0-1.

        Parameters
        ----------
        images: float32 [b, 1, H, W] in 0-1; left as they are.
        epoch: from 1.
        places: int [b], the place of each image in the order of its epoch.
        """
        height, width = images.shape[-2:]
        generators = [self._generator(epoch, int(place)) for place in places]
        changed = images
        if self.shift:
            offsets = [generator.integers(-self.shift, self.shift, 2, endpoint=True) for generator in generators]
            changed = torch.stack(
                [shifted(image, int(down), int(right)) for image, (down, right) in zip(images, offsets, strict=True)]
            )
        factors = np.stack([self._factors(generator, height, width) for generator in generators])
        return (changed * torch.from_numpy(factors).unsqueeze(1).to(images.device)).clamp_(max=1.0)

    def _factors(self, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
        """What every pixel of one image is multiplied by: float32 [H, W], or [1, W] where a column stays together."""
        factors = np.ones((1, width), dtype=np.float32)
        if self.intensity_jitter:
            # The scale of a precursor's spectrum: log-normal, as peak areas of repeated injections are.
            factors *= np.exp(self.intensity_jitter * generator.standard_normal(width, dtype=np.float32))
        if self.drop_precursors:
            factors *= generator.random(width, dtype=np.float32) >= self.drop_precursors
        if self.drop_pixels:
            factors = factors * (generator.random((height, width), dtype=np.float32) >= self.drop_pixels)
        return factors

    def _generator(self, epoch: int, place: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, epoch), spawn_key=(_STREAM, place)))


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """`image` [..., H, W] moved by whole pixels; what leaves is lost, what enters is 0."""
    height, width = image.shape[-2:]
    moved = torch.zeros_like(image)
    if abs(down) < height and abs(right) < width:
        source = image[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        moved[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = source
    return moved
