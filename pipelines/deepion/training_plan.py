"""What ``ms2img deepion train`` trains: images, views, model and settings of one training, and the bundle of a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ms2img.deepion.batches import batches_of
from ms2img.deepion.images import IonImages, read_images
from ms2img.deepion.objective import SPREAD
from ms2img.deepion.presets import msi_views_of
from ms2img.deepion.retrieval import fingerprint
from ms2img.io.location import file_name, stem
from pipelines.deepion.encoder_training import EncoderSeed, EncoderTraining
from pipelines.deepion.weights import read_weights

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig
    from pipelines.deepion.train import TrainConfig

#: Of a training's config: what another machine, or another number of seeds, may have otherwise.
NOT_THE_TRAINING = ("seed", "threads", "device")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is trained. `name`: of the images in the registry. `pretrained`: the file of the first weights, or empty."""

    ions: IonImages
    training: EncoderTraining
    fit: FitConfig
    preset: str
    name: str
    pretrained: str

    @property
    def section(self) -> str:
        """What the registered model is named after."""
        return f"{self.name} {self.training.mode}"

    def fingerprints(self) -> dict[str, str]:
        """What must be equal before the figures of two models may be compared."""
        return {"samples": self.ions.fingerprint, "labels": fingerprint(self.training.mode)}

    def key(self, max_seconds: float | None) -> str:
        """A hash of all that the result follows from, but for the seed."""
        fit = {name: value for name, value in self.fit.to_dict().items() if name not in NOT_THE_TRAINING}
        told = [
            self.fingerprints(),
            self.training.views.to_dict(),
            self.training.model.to_dict(),
            fit,
            max_seconds,
            hashlib.blake2b(self.training.weights, digest_size=8).hexdigest(),
        ]
        return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


def plan_of(config: TrainConfig) -> Plan:
    """The training that the options ask for. Raises `UsageError` for images or weights that it cannot be of."""
    ions = read_images(config.images)
    model, fit = config.model_config_of_preset(), config.fit_config()
    batches_of(len(ions), fit.batch_size, config.workers_per_seed)
    weights, pretrained = b"", ""
    if config.weights is not None:
        weights = read_weights(config.weights, base=model.base)
        pretrained = f"{file_name(config.weights)} {hashlib.blake2b(weights, digest_size=8).hexdigest()}"
    views = msi_views_of(config.mode, config.preset)
    training = EncoderTraining(ions.images, config.mode, views, model, weights)
    name = config.name or stem(ions.source) or file_name(config.images.rstrip("/"))
    return Plan(ions, training, fit, config.preset, name, pretrained)


def save_plan(folder: str, plan: Plan, result: EncoderSeed, *, n_seeds: int, metrics: Mapping[str, Any]) -> None:
    """The bundle of one trained seed."""
    from ms2img.deepion.bundle import save_bundle

    ions = plan.ions
    card = {
        "section": plan.section,
        "name": plan.name,
        "mode": plan.training.mode,
        "preset": plan.preset,
        "seed": result.seed,
        "seeds": n_seeds,
        "epoch": result.best_epoch,
        "ions": len(ions),
        "source": ions.source,
        "polarity": ions.polarity,
        "pretrained": plan.pretrained,
        "simulated": ions.is_simulated,
        "fingerprints": plan.fingerprints(),
        "metrics": {**metrics, "retrieval": result.retrieval, SPREAD: result.spread},
    }
    save_bundle(
        folder,
        encoder_state=result.weights,
        model=plan.training.model,
        views=plan.training.views,
        shape=(ions.mask.shape[0], ions.mask.shape[1]),
        prepare=ions.settings,
        card=card,
    )
