"""The rows of Table 1 that are networks: ResNet18 as it starts, SimSiam, and DeepION.

SimSiam shares the preset's encoder and training with DeepION and differs in its views alone. ResNet18 is whole in every
preset and not trained on ion images; without published weights it is as it was drawn, and named so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ms2img.deepion.augment import Views
from ms2img.deepion.benchmark.methods import ENCODER, UMAP, Spaces
from ms2img.deepion.embed import METRICS, reduced, representations
from ms2img.deepion.images import IonImages
from ms2img.deepion.presets import MODELS, views_of
from ms2img.deepion.resnet import BASE, ResNet18, load_weights
from ms2img.deepion.siamese import SiameseConfig, build
from ms2img.deepion.training import train_encoder
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.reporter import Reporter
from ms2img.learn.settings import Settings

RESNET18, SIMSIAM = "resnet18", "simsiam"
#: Settings of a training that its result does not follow from.
_HOW = ("threads", "device")


@dataclass(frozen=True)
class Network:
    """How a network's vectors come about. views: None of one that is not trained. metric: of UMAP between vectors."""

    name: str
    mode: str
    model: SiameseConfig
    views: Views | None
    fit: FitConfig
    metric: str

    def follows_from(self) -> dict[str, Any]:
        """All that its vectors depend on but images, initial weights and a limit of time; ready for JSON."""
        common = {"network": self.name, "metric": self.metric, "seed": self.fit.seed}
        if self.views is None:
            return common | {"base": self.model.base}
        fit = {name: value for name, value in self.fit.to_dict().items() if name not in _HOW}
        views = {"kind": type(self.views).__name__, **cast("Settings", self.views).to_dict()}
        return common | {"mode": self.mode, "model": self.model.to_dict(), "views": views, "fit": fit}


def network_of(name: str, mode: str, preset: str, fit: FitConfig) -> Network:
    """A network of a preset. mode: "col" | "iso", which DeepION alone has. fit: with its seed."""
    views = None if name == RESNET18 else views_of(mode, SIMSIAM if name == SIMSIAM else preset)
    model = MODELS[preset]
    if name == RESNET18:
        model = replace(model, base=BASE)
    if name == SIMSIAM and model.method != SIMSIAM:
        model = MODELS[SIMSIAM]
    return Network(name, mode, model, views, fit, METRICS.get(preset, METRICS["paper"]))


@dataclass(frozen=True, eq=False)
class Learned:
    """What a network made of ion images, and its training: a row an epoch, and seconds (0 of one that is untrained)."""

    spaces: Spaces
    history: list[dict[str, float]]
    seconds: float


def learned(
    network: Network,
    ions: IonImages,
    *,
    weights: Path | None,
    reporter: Reporter | None,
    resume: Path | None,
    max_seconds: float | None,
    clock: Callable[[], float],
) -> Learned:
    """Train on all ion images, without labels, and embed them. Arguments and errors: see `train_encoder`."""
    if network.views is None:
        return Learned(_spaces(network, _untrained(network, weights), ions), [], 0.0)
    trained = train_encoder(
        ions.images,
        network.views,
        network.model,
        network.fit,
        reporter,
        weights=weights,
        resume=resume,
        max_seconds=max_seconds,
        clock=clock,
    )
    return Learned(_spaces(network, trained.encoder, ions), trained.fit.history, trained.fit.seconds)


def _spaces(network: Network, encoder: ResNet18, ions: IonImages) -> Spaces:
    vectors = representations(encoder, ions.images, device=network.fit.device)
    return {UMAP: reduced(vectors, seed=network.fit.seed, metric=network.metric), ENCODER: vectors}


def _untrained(network: Network, weights: Path | None) -> ResNet18:
    encoder = build(network.model, seed=network.fit.seed).encoder
    if weights is not None:
        load_weights(weights, encoder)
    return encoder
