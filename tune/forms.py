"""How results of trainings are kept in the ledger: folds of the CNN, and trainings on one split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ms2img.ms2toimg.crossvalidate import FoldResult, result_from_json, result_to_json


class FoldForm:
    """Of folds; a `tune.training.Form`."""

    def to_json(self, result: FoldResult) -> dict[str, Any]:
        """See `Form`."""
        return result_to_json(result)

    def from_json(self, told: dict[str, Any]) -> FoldResult:
        """See `Form`."""
        return result_from_json(told)

    def is_sound(self, result: FoldResult) -> bool:
        """See `Form`."""
        return _has_best(result) and all(math.isfinite(each) for each in result.probability)


@dataclass(frozen=True, eq=False)
class SplitResult:
    """One training on one split, judged by its validation part: nothing of it has seen the test part.

    `finished`: whether it came to its end; else it stands at a rung.
    """

    fold: int
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    precision: str
    finished: bool


class SplitForm:
    """Of trainings on one split; a `tune.training.Form`."""

    def to_json(self, result: SplitResult) -> dict[str, Any]:
        """See `Form`."""
        return dict(vars(result))

    def from_json(self, told: dict[str, Any]) -> SplitResult:
        """See `Form`."""
        return SplitResult(**told)

    def is_sound(self, result: SplitResult) -> bool:
        """See `Form`."""
        return _has_best(result)


def _has_best(result: FoldResult | SplitResult) -> bool:
    return result.history[-1]["epoch"] >= result.best_epoch > 0


FOLDS, SPLIT = FoldForm(), SplitForm()
