"""A trained model as a folder that needs nothing else: weights and a JSON description, no pickle and no code.

``model.safetensors`` holds the network's state; ``bundle.json`` how to build the network, how to draw a run, what the
answer means and where it came from. `load_bundle` checks all of it against this version of ms2img before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ms2img import __version__
from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file
from ms2img.io.description import (
    DESCRIPTION_NAME,
    checked_description,
    content_version,
    finite_metrics,
    settings_of,
    write_json,
)
from ms2img.ms2toimg.cnn import CnnConfig, network_of
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render_config import RenderConfig

FORMAT_VERSION = 1
SYSTEM = "ms2toimg"
WEIGHTS_NAME = "model.safetensors"
FILE_NAMES = (DESCRIPTION_NAME, WEIGHTS_NAME)  # all there is in a bundle


class Fingerprints(Config):
    """What the model was trained on, as content hashes: equal hashes, comparable metrics."""

    samples: str = Field(description="the image data set: which runs, with which content, drawn how")
    labels: str = Field(description="which samples carry which label")
    folds: str = Field(description="which samples were held out together")


class Card(Config):
    """What a model's answer means, and where the model came from."""

    assay: str = Field(min_length=1, description="column of the sample sheet that was predicted")
    active: Literal["high", "low"] = Field(description="which end of the assay is 'active'")
    low: float = Field(description="scaled values below this were the low class")
    high: float = Field(description="scaled values above this were the high class")
    value_min: float = Field(description="assay value that scales to 0, the assay's unit")
    value_max: float = Field(description="assay value that scales to 1, the assay's unit")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a run is labelled active")
    preset: str = Field(description="name of the network's preset")
    simulated: bool = Field(description="trained on a simulated study")
    fingerprints: Fingerprints
    metrics: dict[str, float | None] = Field(description="cross-validated, auc_mean and auc_sd among them; null: none")

    @model_validator(mode="after")
    def _finite(self) -> Self:
        for name in ("low", "high", "value_min", "value_max"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is not finite")
        return self


class Description(Config):
    """The whole of ``bundle.json``."""

    format: int
    system: str
    ms2img_version: str
    cnn: dict[str, Any]
    render: RenderConfig
    card: Card


def save_bundle(
    folder: str | Path,
    *,
    model_state: Mapping[str, Tensor],
    cnn: CnnConfig,
    render: RenderConfig,
    card: Mapping[str, Any],
) -> None:
    """Write a bundle into `folder` (made if absent), the description last.

    Raises `UsageError` when `card` has not exactly the fields of `Card`, or `model_state` is not the network's.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = Description(
        format=FORMAT_VERSION,
        system=SYSTEM,
        ms2img_version=__version__,
        cnn=cnn.to_dict(),
        render=render,
        card=Card.checked({**card, "metrics": finite_metrics(card)}, source="model card"),
    )
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model_state.items()}
    _check_tensors(cnn, render, found, place=str(folder / WEIGHTS_NAME))
    with replace_file(folder / WEIGHTS_NAME) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}, temporary)
    write_json(folder / DESCRIPTION_NAME, description.model_dump(mode="json"))


def load_bundle(folder: str | Path) -> Predictor:
    """The predictor of the bundle in `folder`.

    Raises `UsageError`, naming the file, for whatever is missing, damaged, unknown or does not fit together.
    """
    folder = Path(folder)
    description = read_checked_description(folder)
    cnn = settings_of(CnnConfig, description.cnn, folder)
    return Predictor(
        network=_load_network(folder / WEIGHTS_NAME, cnn, description.render),
        render=description.render,
        threshold=description.card.threshold,
        model_version=bundle_version(folder),
    )


def read_checked_description(folder: str | Path) -> Description:
    """The checked ``bundle.json`` of `folder`. Raises `UsageError` as `load_bundle` does."""
    return checked_description(folder, Description, version=FORMAT_VERSION, system=SYSTEM)


def bundle_version(folder: str | Path) -> str:
    """A short hash of the bundle's two files: equal versions, equal answers, wherever the bundle was pulled from."""
    return content_version(folder, FILE_NAMES)


def _load_network(weights: Path, cnn: CnnConfig, render: RenderConfig) -> nn.Module:
    """The network with its weights, checked by the file's header before memory is taken for a tensor."""
    try:
        with safe_open(weights, framework="pt", device="cpu") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
            found = {name: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype())) for name, part in slices.items()}
            network = _check_tensors(cnn, render, found, place=str(weights))
            state = {name: stream.get_tensor(name) for name in found}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{weights}: not the weights of a model bundle: {error}") from None
    network.load_state_dict(state, assign=True)
    return network


_DTYPES = {"F32": torch.float32, "I64": torch.int64}


def _check_tensors(
    cnn: CnnConfig,
    render: RenderConfig,
    found: Mapping[str, tuple[tuple[int, ...], torch.dtype | None]],
    *,
    place: str,
) -> nn.Module:
    """The network that is described, without memory for its weights, if the tensors found are exactly its state."""
    mismatch = "the weights do not belong to this description"
    layers = cnn.members * (cnn.conv_layers + cnn.dense_layers)
    if layers > len(found):  # before a description of a billion layers is built
        raise UsageError(f"{place}: {len(found)} tensors for more layers than that; {mismatch}")
    try:
        with torch.device("meta"):
            network = network_of(cnn, render.height, render.width)
    except (UsageError, RuntimeError, TypeError, OverflowError) as error:
        raise UsageError(f"{place}: no network can be built as described: {str(error).splitlines()[0]}") from None
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in network.state_dict().items()}
    for name in sorted({*expected, *found}):
        if name not in found or name not in expected:
            raise UsageError(f"{place}: tensor '{name}' is {'missing' if name not in found else 'unknown'}; {mismatch}")
        if found[name] != expected[name]:
            raise UsageError(f"{place}: tensor '{name}' is {found[name]}, expected {expected[name]}; {mismatch}")
    return network
