"""``ms2img massformer finetune``, step by step: the model's weights for the library's vocabulary, then a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.massformer.finetune import preset
from pipelines.massformer.training_inputs import training_set
from pipelines.massformer.training_job import Plan, TrainSummary, run

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.massformer.finetune import FinetuneConfig


def finetune(
    config: FinetuneConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> TrainSummary:
    """Train a model further on a library, and register it with its parent.

    Raises `UsageError` before any work for wrong input, and when the tracking store cannot be reached.
    """
    from ms2img.tracking.pull import pulled

    started = time.monotonic()
    with pulled(config.model) as (bundle, source):
        plan = plan_of(config, bundle, source.uri)
    return run(plan, config, started=started, quiet=quiet, notice=notice)


def plan_of(config: FinetuneConfig, bundle: Path, uri: str) -> Plan:
    """The training of a bundle's model on the library, its vocabularies grown by what the library has."""
    from safetensors.torch import save

    from ms2img.massformer.bundle import load_bundle, read_checked_description, read_split
    from ms2img.massformer.transfer import extended_weights

    description, before = read_checked_description(bundle), load_bundle(bundle)
    # The validation part chose the parent's epoch; and a parent may have had a parent.
    seen = [each for each, part in read_split(bundle).items() if part in ("train", "validation")]
    data = training_set(
        config.library,
        config.data_settings(),
        before.spectrum,
        name=config.name,
        vocabulary=before.vocabulary,
        selfies=before.selfies,
        learnt=frozenset([*seen, *description.data.get("learnt", ())]),
    )
    weights = extended_weights(before.model, (before.vocabulary, before.selfies), (data.vocabulary, data.selfies))
    return Plan(
        data=data,
        model=before.model.config,
        fit=config.fit_config(preset()),
        preset=description.card.preset,
        parent=f"{uri} {before.model_version}",
        initial=save({name: value.contiguous() for name, value in weights.items()}),
    )
