"""What a seed of an encoder is: its training in a worker, and the result of it. Free of Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ms2img.deepion.objective import SPREAD, CollapseError
from pipelines.deepion.weights import weights_file
from pipelines.seeds.work import Outcome, SeedResult, SeedTask, Training

if TYPE_CHECKING:
    from pathlib import Path

    from ms2img.deepion.augment import MsiViews
    from ms2img.deepion.siamese import SiameseConfig
    from ms2img.learn.reporter import Reporter


@dataclass(frozen=True, eq=False)
class EncoderTraining(Training):
    """Ion images float32 [n, H, W], their views and a model. `weights`: of the encoder to start from, or none."""

    images: np.ndarray
    mode: str
    views: MsiViews
    model: SiameseConfig
    weights: bytes = b""

    futile = (CollapseError,)

    def run(self, task: SeedTask, reporter: Reporter, resume: Path | None) -> Outcome:
        """See `Training`; what is kept is the encoder alone, measured by whether it tells the images apart."""
        from ms2img.deepion.retrieval import retrieved
        from ms2img.deepion.training import train_encoder

        with weights_file(self.weights) as weights:
            trained = train_encoder(
                self.images,
                self.views,
                self.model,
                task.fit,
                reporter,
                weights=weights,
                resume=resume,
                max_seconds=task.max_seconds,
                clock=task.watch(),
            )
        weights_of = {name: value.clone() for name, value in trained.encoder.state_dict().items()}
        found = retrieved(trained.encoder, self.images, self.mode, device=task.fit.device)
        return Outcome(trained.fit, weights_of, {"retrieved": found.astype(int).tolist()})


@dataclass(frozen=True, eq=False)
class EncoderSeed(SeedResult):
    """What one seed gave: the encoder's weights after its last epoch, and which ions are told apart by it."""

    @property
    def retrieved(self) -> np.ndarray:
        """Whether each ion is retrieved, float64 [n] of 0 and 1; see `ms2img.deepion.retrieval`."""
        return np.array(self.measured["retrieved"], dtype=np.float64)

    @property
    def retrieval(self) -> float:
        """The share of ions that are."""
        return float(self.retrieved.mean())

    @property
    def spread(self) -> float:
        """How far the embeddings point apart at the end, 0 to 1; see `ms2img.deepion.objective.spread`."""
        return self.history[-1][SPREAD]

    def to_dict(self) -> dict[str, Any]:
        """What is told of it."""
        return {
            "seed": self.seed,
            "retrieval": self.retrieval,
            SPREAD: self.spread,
            "train_loss": self.history[-1]["train_loss"],
            "epochs": len(self.history),
            "seconds": round(self.seconds, 1),
            "precision": self.precision,
        }
