"""``ms2img massformer finetune``: a trained model, trained further on one's own library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ms2img.places import MODEL_NAMES, Reads
from pipelines.command import Output, Result
from pipelines.massformer.train import DataOptions, told

if TYPE_CHECKING:
    from ms2img.learn.fit_config import FitConfig


class FinetuneConfig(DataOptions):
    """Options of ``ms2img massformer finetune``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="the model to start from: models:/NAME@ALIAS, models:/NAME/VERSION, a run id, or a model folder"
    )


def finetune_command(config: FinetuneConfig, output: Output) -> Result:
    """Train a registered spectrum model further on a library of one's own, and register what comes of it.

    The learning rate is a fifth of that of training from nothing. An adduct or instrument type that the model has not
    seen starts as the mean of those it knows. What the model was trained on is neither validated nor tested on.
    """
    from pipelines.massformer.finetune_job import finetune

    return told(finetune(config, quiet=output.quiet, notice=output.warn), output)


def preset() -> FitConfig:
    """How a model is trained further."""
    from dataclasses import replace

    from ms2img.massformer.training import TRAINING

    start = TRAINING["small"]
    rate = start.learning_rate / 5  # (ours) steps small enough to stay near what was learnt
    return replace(start, epochs=20, learning_rate=rate, plateau_patience=2, patience=6)
