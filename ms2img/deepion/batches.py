"""Batches of ion images in two views, for the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ms2img.deepion.augment import Views
from ms2img.deepion.draws import Draws
from ms2img.errors import UsageError

LEAST = 2  # images of a worker's part: batch norm compares them
WATCHED = 256  # images at most whose embeddings are watched (ours)
_AT_A_TIME = 64  # of those


class ViewBatch(NamedTuple):
    """This worker's part of a batch: two views of the same images, each float32 [b, 1, H, W].

    `size` and `weight`: see `ms2img.learn.batches.Batch`.
    """

    first: Tensor
    second: Tensor
    size: int
    weight: float


class ViewBatches:
    """Every image once an epoch, in batches whose sizes differ by one at most.

    A rest of one image, as batches filled one by one may leave, has nothing to be normalised against. The validation
    part is some of the same images, unchanged: no loss is measured on it, but whether they are still told apart.

    Parameters
    ----------
    images: float [n, H, W] in 0-1; copied to `device` once, as float32.
    views: what makes a view.
    batch_size: images of a batch at most, over all workers together.
    seed: equal seeds give equal batches and views, whatever the number of workers.
    rank, world_size: this worker's number, and how many share the batches.

    Raises `UsageError` when a worker's part of a batch would be less than two images.
    """

    def __init__(
        self,
        images: np.ndarray,
        views: Views,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if images.ndim != 3:
            raise UsageError(f"ion images of shape {images.shape}; expected [n, H, W]")
        self._count = batches_of(len(images), batch_size, world_size)
        self._images = torch.tensor(images, dtype=torch.float32, device=device)
        self._views, self._seed, self._rank, self._world_size = views, seed, rank, world_size

    def train(self, epoch: int) -> Iterator[ViewBatch]:
        """See `ms2img.learn.batches.Batches.train`; order and views depend on the seed and the epoch alone."""
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._images))
        for whole in np.array_split(order, self._count):
            part = whole[self._rank :: self._world_size]
            first, second = self._views_of(part, epoch)
            yield ViewBatch(first, second, len(whole), len(part) * self._world_size / len(whole))

    def validation(self) -> Iterator[ViewBatch]:
        """The watched images, evenly spaced and unchanged, as both views; the same on every worker."""
        step = -(-len(self._images) // WATCHED)
        for images in torch.split(self._images[::step].unsqueeze(1), _AT_A_TIME):
            yield ViewBatch(images, images, len(images), 1.0)

    def _views_of(self, rows: np.ndarray, epoch: int) -> tuple[Tensor, Tensor]:
        device = self._images.device
        images = self._images[torch.from_numpy(rows).to(device)].unsqueeze(1)
        first, second = (
            self._views.view(images, Draws.of(rows, seed=self._seed, epoch=epoch, view=view, device=device))
            for view in (0, 1)
        )
        return first, second


def batches_of(n_images: int, batch_size: int, world_size: int) -> int:
    """The batches of an epoch; `UsageError` when a worker's part of one would be less than two images."""
    count = -(-n_images // batch_size)
    if n_images // max(count, 1) // world_size < LEAST:
        raise UsageError(
            f"batch_size: {batch_size} of {n_images} ion images over {world_size} workers leaves a part of less than "
            f"{LEAST}; expected more images or a larger batch"
        )
    return count
