"""Random numbers of augmented views: each image has its own, whatever stands beside it in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

_STREAM = 2  # spawn key: keeps these random numbers apart from those of the batch order


class Draws:
    """One stream of random numbers an image of a batch, on the images' device.

    What an image draws depends on its own stream alone: not on the batch size, not on the number of workers. Streams of
    the same seed differ between devices, as torch's generators do.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._device = device

    @classmethod
    def of(cls, rows: np.ndarray, *, seed: int, epoch: int, view: int, device: torch.device) -> Self:
        """The streams of one view (0 or 1) of some images, by their row number: int [b]."""
        sequences = (np.random.SeedSequence((seed, epoch), spawn_key=(_STREAM, int(row), view)) for row in rows)
        return cls([int(s.generate_state(1, np.uint64)[0] >> np.uint64(1)) for s in sequences], device)

    def uniform(self, low: float, high: float) -> Tensor:
        """A number an image, from low to below high: float32 [b, 1, 1, 1]."""
        drawn = torch.stack([torch.rand(1, 1, 1, generator=g, device=self._device) for g in self._generators])
        return low + (high - low) * drawn

    def happens(self, chance: float) -> Tensor:
        """Whether something of that chance happens to an image: bool [b, 1, 1, 1]."""
        return self.uniform(0.0, 1.0) < chance

    def field(self, height: int, width: int) -> Tensor:
        """A number from 0 to below 1 a pixel: float32 [b, 1, height, width]."""
        return torch.stack([torch.rand(1, height, width, generator=g, device=self._device) for g in self._generators])

    def counts(self, expected: Tensor) -> Tensor:
        """Poisson counts about `expected` [b, 1, H, W] (0 or more): float32 of whole numbers, the same shape."""
        return torch.stack([torch.poisson(e, generator=g) for e, g in zip(expected, self._generators, strict=True)])
