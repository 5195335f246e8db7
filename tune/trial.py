"""A trial of a sweep, one choice of hyper-parameters trained on all folds, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldResult, result_from_json, result_to_json

Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, eq=False)
class Trial:
    """What is to be trained. `number` from 0; `memory`: the predicted peak of its process, bytes.

    `refused`: why it cannot be trained at all (too little memory, images too small), else None.
    """

    number: int
    values: dict[str, Any]
    cnn: CnnConfig
    fit: FitConfig
    n_weights: int
    memory: int
    refused: str | None = None


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What a trial gave.

    `status`: "finished", "stopped" (by the scheduler) or "failed", with the `reason`. `folds`: one result a fold in
    order when finished; of a stopped trial the histories so far, with empty probabilities; of a failed one what there
    is. `started` and `ended` are seconds since the sweep's first start, summed over its runs without the gaps.
    """

    number: int
    values: dict[str, Any]
    status: Status
    reason: str | None
    n_weights: int
    folds: list[FoldResult]
    seconds: float
    started: float
    ended: float

    def to_json(self) -> dict[str, Any]:
        """As plain lists and numbers, exact."""
        return {**vars(self), "folds": [result_to_json(fold) for fold in self.folds]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> TrialResult:
        """The inverse of `to_json`."""
        return cls(**{**told, "folds": [result_from_json(fold) for fold in told["folds"]]})
