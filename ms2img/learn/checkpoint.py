"""A training in progress on disk, complete enough to go on as if it had never stopped: safetensors, no pickle.

The file holds weights, optimiser moments and the best epoch's weights; its metadata (JSON) holds the rest. Random
numbers need no place in it: batch order and dropout of an epoch are functions of the seed and the epoch (see `fit`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig

FORMAT = "ms2img training state 1"


@dataclass
class TrainingState:
    """Live view of a training after `epoch` finished epochs."""

    model: nn.Module  # without a wrapper for several workers
    optimizer: torch.optim.Optimizer
    config: FitConfig
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0  # 0: none yet
    best_loss: float = float("inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0  # of training, over all processes that had a part in it

    def save(self, path: str | Path) -> None:
        """Write the state as one safetensors file, by one rename."""
        from safetensors.torch import save_file

        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self.best_weights.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
        told = {
            "config": self.config.to_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "seconds": self.seconds,
        }
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                temporary,
                metadata={"format": FORMAT, "state": json.dumps(told)},
            )
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def restore(self, path: str | Path) -> None:
        """Take everything from a file written by `save`, a tensor at a time: nothing is in memory twice.

        Raises `UsageError` when the file is none, or belongs to another model or another `FitConfig`.
        """
        weights = self.model.state_dict()  # views, written to below
        trained = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        with _opened(path) as (stored, told):
            _require_config(path, told, self.config)
            _require_model(path, stored, weights)
            for key in stored.keys():  # noqa: SIM118 (no mapping)
                part, name = key.split("/", 1)
                value = stored.get_tensor(key)
                if part == "model":
                    weights[name].copy_(value)
                elif part == "best":
                    self.best_weights[name] = value.clone()
                else:
                    index, moment = name.split("/")
                    weight = trained[int(index)]
                    self.optimizer.state[weight][moment] = _laid_out(value, weight)
        self.epoch, self.history = told["epoch"], told["history"]
        self.best_epoch, self.best_loss = told["best_epoch"], told["best_loss"]
        self.seconds = told.get("seconds", 0.0)  # states of before it was kept have none


def read_history(path: str | Path, config: FitConfig) -> list[dict[str, float]]:
    """The history of a state on disk, without its tensors. Raises `UsageError` as `TrainingState.restore`."""
    with _opened(path) as (_, told):
        _require_config(path, told, config)
    history: list[dict[str, float]] = told["history"]
    return history


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A state's tensors, which are read when asked for, and the part of it that is no tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata()
            if not metadata or metadata.get("format") != FORMAT:
                raise UsageError(f"{path}: not a '{FORMAT}'")
            yield stored, json.loads(metadata["state"])
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read as a training state: {error}") from None


def _require_config(path: str | Path, told: Mapping[str, Any], config: FitConfig) -> None:
    if told["config"] != config.to_dict():
        changed = sorted(key for key, value in config.to_dict().items() if told["config"].get(key) != value)
        raise UsageError(f"{path}: saved with another training config ({', '.join(changed)} differ)")


def _require_model(path: str | Path, stored: Any, weights: Mapping[str, Tensor]) -> None:
    found = {
        key.removeprefix("model/"): tuple(stored.get_slice(key).get_shape())
        for key in stored.keys()  # noqa: SIM118 (no mapping)
        if key.startswith("model/")
    }
    for name in sorted(found.keys() | weights.keys()):
        asked = tuple(weights[name].shape) if name in weights else "none"
        if found.get(name, "none") != asked:
            raise UsageError(f"{path}: saved from another model: {name} is {found.get(name, 'none')}, expected {asked}")


def _laid_out(moment: Tensor, weight: Tensor) -> Tensor:
    """A moment on its weight's device and, as the fused optimiser takes for granted, in its memory layout.

    Files hold contiguous tensors, while convolution weights are channels-last.
    """
    if moment.shape != weight.shape:  # the count of steps
        return moment.to(weight.device, copy=True)
    return torch.empty_like(weight, requires_grad=False).copy_(moment)
