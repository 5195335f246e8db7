"""A trained spectrum model as a folder that needs nothing else: weights and JSON, no pickle and no code.

``model.safetensors`` holds the weights, ``bundle.json`` how to build the model, what it predicts and where it came
from, ``split.json`` which molecule was in which part, so that nobody evaluates it on what it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ms2img import __version__
from ms2img.config import Config
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
from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.frame import FramePredictor
from ms2img.massformer.model import ModelConfig, SpectrumModel, build
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary
from ms2img.massformer.predictor import SpectrumPredictor
from ms2img.massformer.questions import PAPER_STRUCTURES, Structures
from ms2img.massformer.selection import PARTS, DataSettings, split_fingerprint
from ms2img.massformer.spectrum import SpectrumConfig

FORMAT_VERSION = 1
SYSTEM = "massformer"
WEIGHTS_NAME = "model.safetensors"
SPLIT_NAME = "split.json"
FILE_NAMES = (DESCRIPTION_NAME, WEIGHTS_NAME, SPLIT_NAME)  # all there is in a bundle
SPLIT_BYTES = 2**28  # a million molecules take 20 MB


class Fingerprints(Config):
    """What the model was trained on, as content hashes: equal hashes, comparable metrics."""

    samples: str = Field(description="the library: its spectra and molecules")
    labels: str = Field(description="what is predicted: binning, transform, cell and adducts")
    folds: str = Field(description="which molecule is in which part")


class Card(Config):
    """What a model predicts, and where it came from."""

    library: str = Field(min_length=1, description="name of the library")
    kind: str = Field(description="massformer, wln, fp or cnn")
    preset: str = Field(description="name of the model's preset")
    seed: int = Field(description="of the weights; the best by validation among those trained")
    seeds: int = Field(ge=1, description="trainings that the metrics are over")
    epoch: int = Field(ge=1, description="of the weights; the best by validation")
    molecules: int = Field(ge=1, description="molecules trained on")
    spectra: int = Field(ge=1, description="spectra trained on")
    licences: tuple[str, ...] = Field(description="of the spectra trained on, as their library states them")
    parent: str = Field("", description="the model that this one was fine-tuned from: its reference and version")
    simulated: bool = Field(description="trained on simulated spectra")
    fingerprints: Fingerprints
    metrics: dict[str, float | None] = Field(description="of the validation part, cosine_mean among them; null: none")


class Description(Config):
    """The whole of ``bundle.json``."""

    format: int
    system: str
    ms2img_version: str
    model: dict[str, Any]
    spectrum: dict[str, Any]
    vocabulary: dict[str, Any]
    selfies: tuple[str, ...]
    structures: dict[str, Any]
    data: dict[str, Any]
    card: Card


def save_bundle(
    folder: str | Path,
    *,
    model_state: Mapping[str, Tensor],
    model: ModelConfig,
    spectrum: SpectrumConfig,
    vocabulary: ConditionVocabulary,
    selfies: SelfiesVocabulary,
    data: DataSettings,
    part: Mapping[str, str],
    card: Mapping[str, Any],
    structures: Structures = PAPER_STRUCTURES,
) -> None:
    """Write a bundle into `folder` (made if absent), the description last.

    part: molecule_id -> part of the split. Raises `UsageError` when `card` has not exactly the fields of `Card`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = Description(
        format=FORMAT_VERSION,
        system=SYSTEM,
        ms2img_version=__version__,
        model=model.to_dict(),
        spectrum=spectrum.to_dict(),
        vocabulary=vocabulary.to_dict(),
        selfies=selfies.symbols,
        structures=structures.to_dict(),
        data=data.to_dict(),
        card=Card.checked({**card, "metrics": finite_metrics(card)}, source="model card"),
    )
    save_weights(folder / WEIGHTS_NAME, model_state)
    by_part = {name: sorted(each for each, where in part.items() if where == name) for name in PARTS}
    write_json(folder / SPLIT_NAME, {"fingerprint": split_fingerprint(part), "parts": by_part})
    write_json(folder / DESCRIPTION_NAME, description.model_dump(mode="json"))


def load_bundle(folder: str | Path) -> SpectrumPredictor:
    """The predictor of the bundle in `folder`.

    Raises `UsageError`, naming the file, for whatever is missing, damaged, unknown or does not fit together.
    """
    folder = Path(folder)
    description = read_checked_description(folder)
    network = load_model(folder, description)
    return SpectrumPredictor(
        network,
        spectrum=settings_of(SpectrumConfig, description.spectrum, folder),
        vocabulary=settings_of(ConditionVocabulary, description.vocabulary, folder),
        selfies=SelfiesVocabulary(description.selfies),
        model_version=bundle_version(folder),
        structures=settings_of(Structures, description.structures, folder),
    )


def load_pyfunc(folder: str | Path) -> FramePredictor:
    """What MLflow is given: ``predict(frame)``, a row a spectrum."""
    return FramePredictor(load_bundle(folder))


def load_model(folder: str | Path, description: Description) -> SpectrumModel:
    """The network of a bundle with its weights, which are checked before memory is taken for them."""
    place = Path(folder) / DESCRIPTION_NAME
    try:
        with torch.device("meta"):
            network = build(
                settings_of(ModelConfig, description.model, folder),
                settings_of(SpectrumConfig, description.spectrum, folder),
                settings_of(ConditionVocabulary, description.vocabulary, folder),
                SelfiesVocabulary(description.selfies),
            )
    except (RuntimeError, TypeError, OverflowError, ValueError) as error:
        raise UsageError(f"{place}: no network can be built as described: {str(error).splitlines()[0]}") from None
    load_weights(Path(folder) / WEIGHTS_NAME, network)
    return network


def read_checked_description(folder: str | Path) -> Description:
    """The checked ``bundle.json`` of `folder`. Raises `UsageError` as `load_bundle` does."""
    return checked_description(folder, Description, version=FORMAT_VERSION, system=SYSTEM)


def read_split(folder: str | Path) -> dict[str, str]:
    """Which molecule (InChIKey first block) was in which part when the model was trained.

    Raises `UsageError` when the file is damaged or is not that of the bundle's description.
    """
    place = Path(folder) / SPLIT_NAME
    try:
        if place.stat().st_size > SPLIT_BYTES:
            raise UsageError(f"{place}: larger than {SPLIT_BYTES} bytes; not the split of a model bundle")
        parts = json.loads(place.read_bytes())["parts"]
        part = {str(each): str(name) for name in PARTS for each in parts[name]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{place}: not the split of a model bundle: {type(error).__name__}: {error}") from None
    if split_fingerprint(part) != read_checked_description(folder).card.fingerprints.folds:
        raise UsageError(f"{place}: not the split that this model was trained with")
    return part


def bundle_version(folder: str | Path) -> str:
    """A short hash of the bundle's files: equal versions, equal answers, wherever the bundle was pulled from."""
    return content_version(folder, FILE_NAMES)
