"""Random numbers of a training: a function of seed, epoch and worker, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_epoch(seed: int, epoch: int, *, rank: int) -> None:
    """Make an epoch's dropout a function of seed, epoch and worker: a resumed training then needs no saved state."""
    torch.manual_seed(int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Give torch's global random state back as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
