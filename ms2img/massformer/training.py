"""One training, without Ray: data and settings in, a model out; runs in a notebook as in a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ms2img.errors import UsageError
from ms2img.learn.fit import FitResult, fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import place, resolve_device
from ms2img.learn.reporter import Reporter
from ms2img.massformer.batching import SpectrumBatches
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.model import ModelConfig, SpectrumModel, build
from ms2img.massformer.objective import CosineObjective, molecule_means, spectrum_cosines

# AdamW as torch has it (the paper and the released code): no Keras here.
_TORCH_EPSILON = 1e-8
LEAST = 2  # spectra of a worker's part, under a batch norm
#: How each preset is trained. The paper's learning rate, weight decay and batch size came of its search and are not
#: printed; those of "paper" and "small" are ours. "released": polynomial decay, peak 2e-4, batch 100, gradient clip 5;
#: its epochs and warm-up are ours.
TRAINING = {
    "paper": FitConfig(
        epochs=100,
        batch_size=100,
        learning_rate=3e-4,
        weight_decay=1e-3,
        adam_epsilon=_TORCH_EPSILON,
        schedule="plateau",
        patience=20,
    ),
    "released": FitConfig(
        epochs=20,
        batch_size=100,
        learning_rate=2e-4,
        adam_epsilon=_TORCH_EPSILON,
        schedule="polynomial",
        warmup=1,
        gradient_clip=5.0,
    ),
    "small": FitConfig(
        epochs=60,
        batch_size=64,
        learning_rate=1e-3,
        weight_decay=1e-4,
        adam_epsilon=_TORCH_EPSILON,
        schedule="plateau",
        plateau_patience=3,
        warmup=1,
        gradient_clip=5.0,
        patience=12,
    ),
}


@dataclass(frozen=True, eq=False)
class Trained:
    """What one training gave.

    model: with the weights of the best epoch, on the CPU, in evaluation mode. fit: see `FitResult`.
    cosines: mean cosine of each validation molecule, by `molecule_id` order of the data; empty without validation.
    """

    model: SpectrumModel
    fit: FitResult
    cosines: np.ndarray

    @property
    def cosine(self) -> float:
        """Mean cosine per validation molecule; NaN without a validation part."""
        return float(np.mean(self.cosines)) if len(self.cosines) else float("nan")


def train_model(
    data: TrainingSet,
    model: ModelConfig,
    config: FitConfig,
    reporter: Reporter | None = None,
    *,
    initial: Mapping[str, Tensor] | None = None,
    resume: str | Path | None = None,
    max_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Train a model on the training part, choosing the epoch by the cosine of the validation part.

    In every worker alike where `torch.distributed` is initialised: the workers share each batch.

    Parameters
    ----------
    initial: weights to start from, of a model of the same shape (see `ms2img.massformer.transfer`); None: drawn anew.
    resume: a state that the reporter has saved of the same training.
    max_seconds, clock: budget; see `ms2img.learn.fit.fit`.
    """
    network = build(model, data.spectrum, data.vocabulary, data.selfies, seed=config.seed)
    if initial is not None:
        network.load_state_dict(initial)
    device = resolve_device(config.device)
    world = dist.get_world_size() if dist.is_initialized() else 1
    rank = dist.get_rank() if dist.is_initialized() else 0
    batches = batches_of(data, model, config, device, rank=rank, world_size=world)
    place(network, device)
    wrapped = DistributedDataParallel(network) if world > 1 else network
    result = fit(
        wrapped,
        batches,
        config,
        reporter,
        resume=resume,
        objective=CosineObjective(data.molecule_of),
        max_seconds=max_seconds,
        clock=clock,
    )
    network.load_state_dict(result.weights)
    network.eval()
    with torch.inference_mode():
        rows, cosines = spectrum_cosines(network, batches.validation())
    means = molecule_means(cosines, data.molecule_of[rows]) if len(rows) else cosines
    return Trained(network.cpu(), result, means)


def require_batches(data: TrainingSet, model: ModelConfig, config: FitConfig, *, workers: int = 1) -> None:
    """`UsageError` where a worker's part of a batch would be one spectrum, and the model's head has batch norms."""
    n_spectra = len(data.train)
    n_batches = max(1, -(-n_spectra // config.batch_size))
    if model.head_norm == "batch" and n_spectra // n_batches // workers < LEAST:
        raise UsageError(
            f"batch_size: {config.batch_size} of {n_spectra} spectra over {workers} workers leaves a part of less than "
            f"{LEAST}, and this model's head has batch norms; expected a larger batch or fewer workers"
        )


def batches_of(
    data: TrainingSet,
    model: ModelConfig,
    config: FitConfig,
    device: torch.device,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> SpectrumBatches:
    """The batches of a training."""
    return SpectrumBatches(
        model.kind,
        data.features,
        molecule=data.molecule_of,
        conditions=data.conditions,
        precursor_mz=data.precursor_mz,
        target=data.target,
        train=data.train,
        validation=data.validation,
        batch_size=config.batch_size,
        seed=config.seed,
        device=device,
        selfies=data.selfies,
        rank=rank,
        world_size=world_size,
    )
