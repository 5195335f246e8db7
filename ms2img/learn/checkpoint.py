"""A training in progress on disk, complete enough to go on as if it had never stopped: safetensors, no pickle.

The file holds weights, optimiser moments and the best epoch's weights; its metadata (JSON) holds the rest. Random
numbers need no place in it: batch order and dropout of an epoch are functions of the seed and the epoch (see `fit`).
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

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
        """Take everything from a file written by `save`.

        Raises `UsageError` when the file is none, or belongs to another model or another `FitConfig`.
        """
        tensors, told = _read(Path(path))
        _require_config(path, told, self.config)
        moments: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        for key, value in tensors.items():
            part, name = key.split("/", 1)
            if part == "optimizer":
                index, moment = name.split("/")
                moments.setdefault(int(index), {})[moment] = value
            else:
                weights[part][name] = value
        try:
            self.model.load_state_dict(weights["model"])
        except RuntimeError as error:
            raise UsageError(f"{path}: saved from another model: {str(error).splitlines()[-1].strip()}") from None
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._lay_out_moments()
        self.best_weights = weights["best"]
        self.epoch, self.history = told["epoch"], told["history"]
        self.best_epoch, self.best_loss = told["best_epoch"], told["best_loss"]

    def _lay_out_moments(self) -> None:
        """Give every moment the memory layout of its weight (channels-last): the fused optimiser takes both for equal.

        Files hold contiguous tensors, and torch's `load_state_dict` leaves them so.
        """
        for weight, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if value.shape == weight.shape:
                    moments[name] = torch.empty_like(weight, requires_grad=False).copy_(value)


def read_history(path: str | Path, config: FitConfig) -> list[dict[str, float]]:
    """The history of a state on disk, without its tensors. Raises `UsageError` as `TrainingState.restore`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            told = _told(path, stored.metadata())
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read as a training state: {error}") from None
    _require_config(path, told, config)
    history: list[dict[str, float]] = told["history"]
    return history


def _require_config(path: str | Path, told: dict, config: FitConfig) -> None:
    if told["config"] != config.to_dict():
        changed = sorted(key for key, value in config.to_dict().items() if told["config"].get(key) != value)
        raise UsageError(f"{path}: saved with another training config ({', '.join(changed)} differ)")


def _read(path: Path) -> tuple[dict[str, Tensor], dict]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            told = _told(path, stored.metadata())
            return {key: stored.get_tensor(key) for key in stored.keys()}, told  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read as a training state: {error}") from None


def _told(path: str | Path, metadata: dict[str, str] | None) -> dict:
    """The part of a state that is no tensor."""
    if not metadata or metadata.get("format") != FORMAT:
        raise UsageError(f"{path}: not a '{FORMAT}'")
    return json.loads(metadata["state"])
