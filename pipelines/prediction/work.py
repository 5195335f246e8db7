"""A part in its worker: files to images, images to answers, answers to a staged file. Free of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from ms2img.ms2toimg.predict_rows import Answer, failed
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.reader import Limits, Reader
from pipelines.prediction.plan import Part
from pipelines.prediction.staged import write_part
from pipelines.shipped_model import Model, loaded

if TYPE_CHECKING:
    from ms2img.ms2toimg.predictor import Predictor

_reader: Reader | None = None  # of this worker process, kept over its parts


@dataclass(frozen=True)
class Settings:
    """What all parts of a job share: the folder of staged files, how runs are drawn and read, the model."""

    out: str
    render: RenderConfig
    limits: Limits
    model: Model


@dataclass(frozen=True)
class Drawn:
    """A part whose files were read: uint8 `images` [n, height, width] of its runs in order, but for those in `errors`.

    `errors`: answers by the runs' place in the part.
    """

    key: str
    images: np.ndarray
    errors: Mapping[int, Answer]


@dataclass(frozen=True)
class Scored:
    """A finished part, whose answers are staged: one a run, in order."""

    key: str
    answers: tuple[Answer, ...]


def read_part(part: Part, settings: Settings) -> Drawn:
    """Read and draw the runs of a part under the limits, in this process's reader.

    Raises `JobError` when no reader process can be started.
    """
    global _reader
    _reader = _reader or Reader()
    render = settings.render
    place = {row: index for index, row in enumerate(part.rows)}
    images: dict[int, np.ndarray] = {}
    errors: dict[int, Answer] = {}
    for outcome in _reader.outcomes(part.groups, render, settings.limits):
        index = place[int(outcome.run.sample_id)]
        if outcome.error is not None:
            errors[index] = failed(outcome.error)
        elif outcome.row is not None:
            images[index] = outcome.row["image"]
    blank = np.empty((0, render.height, render.width), dtype=np.uint8)
    return Drawn(part.key, np.stack([images[index] for index in sorted(images)]) if images else blank, errors)


def finish_part(drawn: Drawn, settings: Settings, predictor: Predictor) -> Scored:
    """Score the images and stage the answers. Raises `JobError` when they cannot be written from here."""
    probabilities = iter(predictor.score(drawn.images).tolist())
    count = len(drawn.images) + len(drawn.errors)
    answers = tuple(drawn.errors.get(index) or (next(probabilities), "") for index in range(count))
    try:
        write_part(folder(settings.out), drawn.key, answers)
    except UsageError as error:  # such as a worker without the keys that the driver has
        raise JobError(f"a worker cannot write: {error}") from None
    return Scored(drawn.key, answers)


def score_part(part: Part, settings: Settings) -> Scored:
    """A part from its files to its staged answers, on this worker's CPU."""
    return finish_part(read_part(part, settings), settings, predictor_of(settings.model))


def predictor_of(model: Model) -> Predictor:
    """The model, loaded once in a worker process."""
    from ms2img.tracking.flavor import load_bundle

    found: Predictor = loaded(model, load_bundle)
    return found
