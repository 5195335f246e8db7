"""What a seed of a spectrum model is: its training in a worker, and the result of it. Free of Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.seeds.work import Outcome, SeedResult, SeedTask, Training

if TYPE_CHECKING:
    from pathlib import Path

    from ms2img.learn.reporter import Reporter
    from ms2img.massformer.dataset import TrainingSet
    from ms2img.massformer.model import ModelConfig


@dataclass(frozen=True, eq=False)
class SpectrumTraining(Training):
    """A model and its training set. `initial`: weights to start from, or none, as bytes."""

    data: TrainingSet
    model: ModelConfig
    initial: bytes = b""

    def run(self, task: SeedTask, reporter: Reporter, resume: Path | None) -> Outcome:
        """See `Training`."""
        from safetensors.torch import load

        from ms2img.massformer.training import train_model

        trained = train_model(
            self.data,
            self.model,
            task.fit,
            reporter,
            initial=load(self.initial) if self.initial else None,
            resume=resume,
            max_seconds=task.max_seconds,
            clock=task.watch(),
        )
        return Outcome(trained.fit, trained.fit.weights, {"cosines": trained.cosines.tolist()})


@dataclass(frozen=True, eq=False)
class SpectrumSeed(SeedResult):
    """What one seed gave: the weights of its best epoch, and the mean cosine of each validation molecule."""

    @property
    def cosines(self) -> np.ndarray:
        """Of each validation molecule, by `molecule_id` order of the data; empty without a validation part."""
        return np.array(self.measured["cosines"], dtype=np.float64)

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
