"""What a sweep of a spectrum model is going to do: its data, its space, and its trials."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from ms2img.errors import UsageError
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.model import build
from pipelines.massformer.sweep_config import SweepConfig
from pipelines.massformer.training_inputs import training_set
from tune.molecule_family import molecule_family
from tune.space import Space
from tune.trial import Trial


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """A sweep before it starts."""

    config: SweepConfig
    data: TrainingSet
    space: Space
    epochs: int
    trainings: int = 1

    @classmethod
    def make(cls, config: SweepConfig) -> Self:
        """Load and check everything; raises `UsageError` for what is wrong with options, library or space."""
        if config.searcher == "optuna" and importlib.util.find_spec("optuna") is None:
            raise UsageError("--searcher optuna needs Optuna: pip install 'ms2img[cluster]'")
        space = Space.load(config.space or f"massformer-{config.model}", molecule_family(config.model))
        if config.preset is not None:
            space = replace(space, base=config.preset)
        training = config.training()
        data = training_set(config.library, training.data_settings(), training.spectrum_config(), name=config.name)
        if not len(data.validation):
            raise UsageError(f"{config.library}: no validation spectra after the split, and a sweep decides by them")
        _, fit = space.configure({}, epochs=config.epochs)
        return cls(config, data, space, fit.epochs)

    def identity(self) -> dict[str, Any]:
        """What another start of this sweep must agree with."""
        model, fit = self.space.configure({}, epochs=self.epochs, seed=self.config.seed)
        prints = self.data.fingerprints
        return {
            **self.config.identity(),
            "space": self.space.to_dict(),
            "base": {"model": model.to_dict(), "fit": fit.to_dict()},
            "epochs": self.epochs,
            "fingerprints": {"library": prints["samples"], "spectra": prints["labels"], "split": prints["folds"]},
        }

    def trial(self, number: int, values: Mapping[str, Any]) -> Trial:
        """A trial; one whose model cannot be built comes back `refused`."""
        model, fit = self.space.configure(
            values,
            epochs=self.epochs,
            seed=self.config.seed,
            threads=self.config.cpus_per_trial,
            precision=self.config.precision,
        )
        fit = replace(fit, warmup=min(fit.warmup, self.epochs - 1))
        data = self.data
        try:
            with torch.device("meta"):
                network = build(model, data.spectrum, data.vocabulary, data.selfies)
        except UsageError as error:
            return Trial(number, dict(values), model, fit, n_weights=0, memory=0, refused=f"trial {number}: {error}")
        n_weights = sum(weight.numel() for weight in network.parameters())
        return Trial(number, dict(values), model, fit, n_weights=n_weights, memory=0)
