"""Batches of a training set that fits in memory: one uint8 tensor on the device, shuffled by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ms2img.learn.augment import Augmentation

EVALUATION_BATCH = 64  # images scored at a time: their activations need about 0.5 GB at 150x140 (ours)


class Batch(NamedTuple):
    """This worker's part of a batch: `images` float32 [b, 1, H, W] in 0-1 and `targets` float32 [b].

    `size` counts the images of the whole batch, over all workers. `weight` makes the mean over the workers of
    (weight x mean loss of the part) the mean loss of the whole batch, also when the parts differ in length; it is 1
    for a single worker, 0 for a part that only fills an empty place.
    """

    images: Tensor
    targets: Tensor
    size: int
    weight: float


class AnyBatch(Protocol):
    """What the training loop asks of every batch, whatever it holds: see `Batch`."""

    @property
    def size(self) -> int:
        """Examples of the whole batch, over all workers."""

    @property
    def weight(self) -> float:
        """What the mean loss of this part is multiplied by."""


BatchT_co = TypeVar("BatchT_co", bound=AnyBatch, covariant=True)


class Batches(Protocol[BatchT_co]):
    """What the training loop asks of its data."""

    def train(self, epoch: int) -> Iterator[BatchT_co]:
        """This worker's part of every batch of an epoch (from 1), in the epoch's own order."""

    def validation(self) -> Iterator[BatchT_co]:
        """The validation part in order, whole on every worker; nothing where there is none."""


class ImageBatches:
    """Batches over rows of an image array.

    Parameters
    ----------
    images: uint8 [n, H, W]; copied to `device` once.
    target: [n] of 0 and 1 in the rows that are used.
    train, validation: row numbers; `validation` may be empty.
    batch_size: images of a batch over all workers together.
    seed: equal seeds give equal batches, whatever the number of workers.
    augment: how training images are changed each time they are seen; None: not at all.
    rank, world_size: this worker's number, and how many share the batches.
    """

    def __init__(
        self,
        images: np.ndarray,
        target: np.ndarray,
        *,
        train: np.ndarray,
        validation: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device,
        augment: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        rows = np.concatenate([train, validation])
        # torch.tensor copies, so a read-only array (Ray's shared memory) is welcome.
        self._images = torch.tensor(images[rows], device=device)
        self._targets = torch.tensor(target[rows], dtype=torch.float32, device=device)
        self._n_train = len(train)
        self._batch_size = batch_size
        self._seed = seed
        self._augment = augment
        self._rank = rank
        self._world_size = world_size

    def train(self, epoch: int) -> Iterator[Batch]:
        """See `Batches.train`; the order depends on the seed and the epoch alone."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._n_train)
        for start in range(0, self._n_train, self._batch_size):
            whole = order[start : start + self._batch_size]
            part = np.arange(start, start + len(whole))[self._rank :: self._world_size]
            weight = len(part) * self._world_size / len(whole)
            # Every worker must take part in averaging the gradients: one without an image lends a weightless one.
            places = part if len(part) else np.array([start])
            batch = self._batch(order[places], len(whole), weight)
            if self._augment is not None:
                batch = batch._replace(images=self._augment(batch.images, epoch=epoch, places=places))
            yield batch

    def validation(self) -> Iterator[Batch]:
        """See `Batches.validation`."""
        rows = np.arange(self._n_train, len(self._images))
        for start in range(0, len(rows), EVALUATION_BATCH):
            part = rows[start : start + EVALUATION_BATCH]
            yield self._batch(part, len(part), 1.0)

    def _batch(self, rows: np.ndarray, size: int, weight: float) -> Batch:
        index = torch.from_numpy(rows).to(self._images.device)
        return Batch(as_input(self._images[index]), self._targets[index], size, weight)


def as_input(images: Tensor) -> Tensor:
    """uint8 [b, H, W] -> float32 [b, 1, H, W] in 0-1."""
    return images.unsqueeze(1).to(torch.float32).div_(255)
