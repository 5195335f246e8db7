"""One training, without Ray: ion images and settings in, an encoder out; runs in a notebook as in a worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ms2img.deepion.augment import Views
from ms2img.deepion.batches import ViewBatches
from ms2img.deepion.objective import CollapseWatch, SiameseObjective
from ms2img.deepion.resnet import ResNet18, load_weights
from ms2img.deepion.siamese import SiameseConfig, build
from ms2img.errors import UsageError
from ms2img.learn.fit import FitResult, fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import place, resolve_device
from ms2img.learn.reporter import Reporter


@dataclass(frozen=True, eq=False)
class Trained:
    """What one training gave: the encoder after its last epoch, on the CPU, in evaluation mode; and its history.

    A row of ``fit.history`` has ``train_loss`` (-1 to 1) and ``embedding_spread`` (0 to 1).
    """

    encoder: ResNet18
    fit: FitResult


def train_encoder(
    images: np.ndarray,
    views: Views,
    model: SiameseConfig,
    config: FitConfig,
    reporter: Reporter | None = None,
    *,
    weights: str | Path | None = None,
    resume: str | Path | None = None,
    max_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Train on ion images, float [n, H, W] in 0-1, without labels (DeepION, section 3.3).

    In every worker alike where `torch.distributed` is initialised: the workers share each batch, and each normalises
    its own part.

    Parameters
    ----------
    weights: ImageNet's for the encoder, see `ms2img.deepion.resnet.load_weights`; None: drawn anew.
    resume: a state that the reporter has saved of the same training.
    max_seconds, clock: budget; see `ms2img.learn.fit.fit`.

    Raises `CollapseError` when the embeddings become the same, `UsageError` for settings that do not fit the images or
    the training loop, `FloatingPointError` when the loss is no longer finite.
    """
    _require_last(config)
    network = build(model, seed=config.seed)
    if weights is not None:
        load_weights(weights, network.encoder)
        network.restart_target()
    device = resolve_device(config.device)
    world = dist.get_world_size() if dist.is_initialized() else 1
    rank = dist.get_rank() if dist.is_initialized() else 0
    batches = ViewBatches(
        images, views, batch_size=config.batch_size, seed=config.seed, device=device, rank=rank, world_size=world
    )
    place(network, device)
    result = fit(
        DistributedDataParallel(network) if world > 1 else network,
        batches,
        config,
        CollapseWatch(reporter),
        resume=resume,
        objective=SiameseObjective(),
        max_seconds=max_seconds,
        clock=clock,
    )
    return Trained(network.encoder.cpu().eval(), result)


def _require_last(config: FitConfig) -> None:
    """`UsageError` for what needs a validation part, or changes images in the way of another system."""
    if config.keep != "last":
        raise UsageError(f"keep: '{config.keep}' needs a validation part, which ion images have none of; expected last")
    for name in ("shift", "drop_precursors", "drop_pixels", "intensity_jitter"):
        if getattr(config, name):
            raise UsageError(f"{name}: {getattr(config, name)} has no meaning for ion images; expected 0")
