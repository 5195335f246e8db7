"""What a space may be of: a kind of model with its presets, and which of its settings a search must leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ms2img.learn.fit_config import FitConfig
from ms2img.learn.settings import Settings
from ms2img.ms2toimg.cnn import PRESETS, TRAINING

#: Fields that the command, the machine or the prediction of memory decides, the same for every trial.
FIXED = ("epochs", "patience", "seed", "threads", "precision", "device", "micro_batch")


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of model.

    `presets`: by name, the model's settings and how it is trained. `spaces`: names of its spaces in ``tune/spaces``.
    `fixed`: fields that are the same for all trials. `patience`: whether a preset's own patience holds in a trial; if
    not, nothing but the scheduler stops one early.
    """

    presets: Mapping[str, tuple[Settings, FitConfig]]
    spaces: tuple[str, ...]
    fixed: tuple[str, ...] = FIXED
    patience: bool = False

    def searchable(self) -> list[str]:
        """The names that a space may hold."""
        model, fit = next(iter(self.presets.values()))
        return [name for name in (*names(model), *names(fit)) if name not in self.fixed]


def names(settings: Settings) -> list[str]:
    """The fields of a model's or a training's settings."""
    return [field.name for field in fields(settings)]


#: The CNN of MS2toImg.
CNN = Family({name: (PRESETS[name], TRAINING[name]) for name in PRESETS}, spaces=("paper", "wide"))
