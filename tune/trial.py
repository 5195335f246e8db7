"""A trial of a sweep, one choice of hyper-parameters trained on every fold or on the split, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ms2img.learn.fit_config import FitConfig

Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, eq=False)
class Trial:
    """What is to be trained.

    `number` from 0; `model`: the settings of its network; `memory`: the predicted peak of its process, bytes, 0 where
    nothing is predicted.

    `refused`: why it cannot be trained at all (too little memory, images too small), else None.
    """

    number: int
    values: dict[str, Any]
    model: Any
    fit: FitConfig
    n_weights: int
    memory: int
    refused: str | None = None


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What a trial gave.

    `status`: "finished", "stopped" (by the scheduler) or "failed", with the `reason`. `folds`: one result a fold in
    order when finished (see `tune.forms`); of a stopped trial the histories so far, with empty probabilities; of a
    failed one what there is. `started` and `ended` are seconds since the sweep's first start, summed over its runs
    without the gaps.
    """

    number: int
    values: dict[str, Any]
    status: Status
    reason: str | None
    n_weights: int
    folds: list[Any]
    seconds: float
    started: float
    ended: float
