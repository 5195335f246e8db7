"""The learning rate over a training, as a function of what is known when an epoch begins.

It changes from epoch to epoch, never within one, and follows from the config and the history alone: a training that
goes on after an interruption needs no saved schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ms2img.learn.fit_config import FitConfig

POLYNOMIAL_POWER = 1.0  # the released MassFormer and Graphormer: polynomial decay of power 1, to 0


def rate_factor(config: FitConfig, epoch: int, history: Sequence[Mapping[str, float]]) -> float:
    """What the learning rate is multiplied by in `epoch` (from 1), after the epochs of `history`; 1 for "constant".

    The first ``config.warmup`` epochs rise linearly. Then "polynomial" falls to 0 at the end of ``config.epochs``, and
    "plateau" is multiplied by ``config.plateau_factor`` whenever more than ``config.plateau_patience`` epochs have
    brought no lower validation loss (training loss, where there is no validation part).
    """
    middle = epoch - 0.5  # a linear schedule's mean over the epoch is its value there
    if middle < config.warmup:
        return middle / config.warmup
    if config.schedule == "polynomial":
        left = (config.epochs - middle) / (config.epochs - config.warmup)
        return float(left**POLYNOMIAL_POWER)
    if config.schedule == "plateau":
        return float(config.plateau_factor ** _plateaus(history, config.plateau_patience))
    return 1.0


def _plateaus(history: Sequence[Mapping[str, float]], patience: int) -> int:
    """How often the loss has stood still: torch's ReduceLROnPlateau with a threshold of 0."""
    best, waited, plateaus = float("inf"), 0, 0
    for row in history:
        loss = row.get("validation_loss", row["train_loss"])
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            waited, plateaus = 0, plateaus + 1
    return plateaus
