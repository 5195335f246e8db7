"""One seed in its worker: trained from where its last state stands, its result kept. Free of Ray.

All is kept in a folder that every worker reaches, under the training's fingerprint: a training that is started again
does only what is missing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ms2img.io.storage import folder

if TYPE_CHECKING:
    from torch import Tensor

    from ms2img.learn.checkpoint import TrainingState
    from ms2img.learn.fit_config import FitConfig
    from ms2img.massformer.dataset import TrainingSet
    from ms2img.massformer.model import ModelConfig
    from ms2img.massformer.training import Trained

OnEpoch = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class SeedTask:
    """One training. `name`: of its files in the folder `work`. `initial`: weights to start from, or none, as bytes.

    `clock`: whether `max_seconds` are those of a wall clock or of the processor.
    """

    seed: int
    model: ModelConfig
    fit: FitConfig
    max_seconds: float | None
    work: str
    name: str
    checkpoint_seconds: float
    initial: bytes = b""
    clock: Literal["wall", "cpu"] = "wall"

    @property
    def state_name(self) -> str:
        """The file of the state that an interrupted training goes on from."""
        return f"{self.name}.state.safetensors"


@dataclass(frozen=True, eq=False)
class SeedResult:
    """What one seed gave: `weights` of the best epoch, and the mean cosine of each validation molecule."""

    seed: int
    weights: Mapping[str, Tensor]
    cosines: np.ndarray
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    precision: str

    @property
    def cosine(self) -> float:
        """The mean cosine per validation molecule; NaN without a validation part."""
        return float(np.mean(self.cosines)) if len(self.cosines) else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """What is told of it."""
        cosine = self.cosine
        return {
            "seed": self.seed,
            "cosine": cosine if np.isfinite(cosine) else None,
            "epoch": self.best_epoch,
            "epochs": len(self.history),
            "seconds": round(self.seconds, 1),
            "precision": self.precision,
        }


class KeepingReporter:
    """Tells of epochs, and keeps a state every so many seconds; only the first worker keeps one."""

    def __init__(self, task: SeedTask, on_epoch: OnEpoch, *, first: bool) -> None:
        self._task, self._on_epoch, self._first = task, on_epoch, first
        self._kept = time.monotonic()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        if self._first:
            self._on_epoch(metrics)

    def checkpoint(self, state: TrainingState) -> None:
        """See `ms2img.learn.reporter.Reporter`."""
        if not self._first or time.monotonic() - self._kept < self._task.checkpoint_seconds:
            return
        with tempfile.TemporaryDirectory(prefix="ms2img-state-") as scratch:
            path = Path(scratch) / "state"
            state.save(path)
            folder(self._task.work).write(self._task.state_name, path.read_bytes())
        self._kept = time.monotonic()

    def should_stop(self) -> bool:
        """Never: the budget is the loop's own."""
        return False


def train_seed(data: TrainingSet, task: SeedTask, on_epoch: OnEpoch, *, first: bool = True) -> None:
    """Train one seed and keep its result; nothing where it is kept already.

    first: whether this is the first of the workers that share the training (see `train_model`).
    """
    from safetensors.torch import load

    from ms2img.massformer.training import train_model

    out = folder(task.work)
    with tempfile.TemporaryDirectory(prefix="ms2img-resume-") as scratch:
        state = out.read(task.state_name)
        resume = Path(scratch) / "state" if state is not None else None
        if resume is not None and state is not None:
            resume.write_bytes(state)
        trained = train_model(
            data,
            task.model,
            task.fit,
            KeepingReporter(task, on_epoch, first=first),
            initial=load(task.initial) if task.initial else None,
            resume=resume,
            max_seconds=task.max_seconds,
            clock=time.process_time if task.clock == "cpu" else time.perf_counter,
        )
    if first:
        _keep(task, trained)


def read_result(task: SeedTask) -> SeedResult | None:
    """The result of a seed that is done; None of one that is not."""
    from safetensors.torch import load

    out = folder(task.work)
    told, weights = out.read(f"{task.name}.json"), out.read(f"{task.name}.safetensors")
    if told is None or weights is None:
        return None
    values = json.loads(told)
    return SeedResult(
        seed=task.seed,
        weights=load(weights),
        cosines=np.array(values["cosines"], dtype=np.float64),
        history=values["history"],
        best_epoch=values["best_epoch"],
        seconds=values["seconds"],
        precision=values["precision"],
    )


def _keep(task: SeedTask, trained: Trained) -> None:
    """The weights first, what tells of them last: it is the commit. The state has had its day."""
    from safetensors.torch import save

    out = folder(task.work)
    out.write(f"{task.name}.safetensors", save({k: v.contiguous() for k, v in trained.fit.weights.items()}))
    told = {
        "cosines": trained.cosines.tolist(),
        "history": trained.fit.history,
        "best_epoch": trained.fit.best_epoch,
        "seconds": trained.fit.seconds,
        "precision": trained.fit.precision,
    }
    out.write(f"{task.name}.json", json.dumps(told).encode())
    out.delete([task.state_name])
