"""A trained encoder as a folder that needs nothing else: weights and JSON, no pickle and no code.

``model.safetensors`` holds the encoder's weights, ``bundle.json`` how to build it, what it was trained on and how. The
heads that a training has beside the encoder are no part of it: they are not used again (DeepION, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ms2img import __version__
from ms2img.config import Config
from ms2img.deepion.augment import MsiViews
from ms2img.deepion.frame import FramePredictor
from ms2img.deepion.predictor import EmbeddingPredictor
from ms2img.deepion.resnet import ResNet18
from ms2img.deepion.siamese import SiameseConfig
from ms2img.errors import UsageError
from ms2img.io.description import (
    DESCRIPTION_NAME,
    checked_description,
    content_version,
    finite_metrics,
    settings_of,
    write_json,
)
from ms2img.learn.weights import load_weights, save_weights

FORMAT_VERSION = 1
SYSTEM = "deepion"
WEIGHTS_NAME = "model.safetensors"
FILE_NAMES = (DESCRIPTION_NAME, WEIGHTS_NAME)  # all there is in a bundle
_MOST_BASE = 1024  # channels of the first stage (ours): weights of 11 GB; a description that asks for more is none


class Fingerprints(Config):
    """What the metrics are of, as content hashes: equal hashes, comparable metrics."""

    samples: str = Field(description="the ion images")
    labels: str = Field(description="the views by which retrieval is measured, see `ms2img.deepion.retrieval`")


class Card(Config):
    """What an encoder was trained on and how, and where it came from."""

    section: str = Field(min_length=1, description="what the registered model is named after: name and mode")
    name: str = Field(min_length=1, description="of the images")
    mode: Literal["col", "iso"] = Field(description="what lies close: co-localised ions, or isotopes of one")
    preset: str = Field(description="name of the preset of views, model and training")
    seed: int = Field(description="of the weights; the best by retrieval among those trained")
    seeds: int = Field(ge=1, description="trainings that the metrics are over")
    epoch: int = Field(ge=1, description="of the weights: the last")
    ions: int = Field(ge=1, description="ion images trained on")
    source: str = Field(description="name of the file that they were made of")
    polarity: Literal["positive", "negative"] | None = Field(description="of the measurement")
    pretrained: str = Field("", description="file that the encoder started from, and a hash of it; empty: drawn anew")
    simulated: bool = Field(description="trained on SIMULATED images")
    fingerprints: Fingerprints
    metrics: dict[str, float | None] = Field(description="retrieval_mean among them; null: none")


class Description(Config):
    """The whole of ``bundle.json``. `shape`: H, W of the images trained on. `prepare`: how these were made."""

    format: int
    system: str
    ms2img_version: str
    model: dict[str, Any]
    views: dict[str, Any]
    shape: tuple[int, int]
    prepare: dict[str, Any]
    card: Card


def save_bundle(
    folder: str | Path,
    *,
    encoder_state: Mapping[str, Tensor],
    model: SiameseConfig,
    views: MsiViews,
    shape: tuple[int, int],
    prepare: Mapping[str, Any],
    card: Mapping[str, Any],
) -> None:
    """Write a bundle into `folder` (made if absent), the description last.

    encoder_state: of a `ResNet18` without a classifier. shape: (H, W) of the images trained on. prepare: their
    settings. Raises `UsageError` when `card` has not exactly the fields of `Card`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = Description(
        format=FORMAT_VERSION,
        system=SYSTEM,
        ms2img_version=__version__,
        model=model.to_dict(),
        views=views.to_dict(),
        shape=shape,
        prepare=dict(prepare),
        card=Card.checked({**card, "metrics": finite_metrics(card)}, source="model card"),
    )
    save_weights(folder / WEIGHTS_NAME, encoder_state)
    write_json(folder / DESCRIPTION_NAME, description.model_dump(mode="json"))


def load_bundle(folder: str | Path) -> EmbeddingPredictor:
    """What embeds ion images by the bundle in `folder`.

    Raises `UsageError`, naming the file, for whatever is missing, damaged, unknown or does not fit together.
    """
    description = read_checked_description(folder)
    settings_of(MsiViews, description.views, folder)
    model: SiameseConfig = settings_of(SiameseConfig, description.model, folder)
    place = Path(folder) / DESCRIPTION_NAME
    if model.base > _MOST_BASE:
        raise UsageError(f"{place}: base {model.base}; expected {_MOST_BASE} at most")
    if min(description.shape) < 1:
        raise UsageError(f"{place}: shape {description.shape}; expected a height and a width in pixels")
    with torch.device("meta"):
        encoder = ResNet18(base=model.base)
    load_weights(Path(folder) / WEIGHTS_NAME, encoder)
    return EmbeddingPredictor(
        encoder,
        mode=description.card.mode,
        preset=description.card.preset,
        shape=description.shape,
        prepare=description.prepare,
        is_simulated=description.card.simulated,
        model_version=bundle_version(folder),
    )


def load_pyfunc(folder: str | Path) -> FramePredictor:
    """What MLflow is given, see `FramePredictor.predict`."""
    return FramePredictor(load_bundle(folder))


def read_checked_description(folder: str | Path) -> Description:
    """The checked ``bundle.json`` of `folder`. Raises `UsageError` as `load_bundle` does."""
    return checked_description(folder, Description, version=FORMAT_VERSION, system=SYSTEM)


def bundle_version(folder: str | Path) -> str:
    """A short hash of the bundle's files: equal versions, equal answers, wherever the bundle was pulled from."""
    return content_version(folder, FILE_NAMES)
