"""The trials of a search as the report tells them: best first, by their score's fifth, with their hyper-parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.report.table import rows_of

FIFTHS = 5
DECIMALS = 12  # scores that differ by less are equal, as in `tune.choose`


@dataclass(frozen=True)
class Trials:
    """`finished`: rows of the record's table, the best first; `others`: stopped and failed ones by number.

    Each row's ``values`` are a mapping again. `names`: of the hyper-parameters, in the order of the space.
    """

    finished: list[dict[str, Any]]
    others: list[dict[str, Any]]
    names: tuple[str, ...]

    @classmethod
    def of(cls, trials: pd.DataFrame) -> Trials:
        """Rank as the winner is chosen: validation accuracy, then lower loss, fewer weights, lower number."""
        rows = [{**row, "values": json.loads(row["values"])} for row in rows_of(trials)]
        names = tuple(dict.fromkeys(name for row in rows for name in row["values"]))
        finished = sorted((row for row in rows if row["status"] == "finished"), key=_rank)
        others = sorted((row for row in rows if row["status"] != "finished"), key=lambda row: row["trial"])
        return cls(finished, others, names)

    @property
    def every(self) -> list[dict[str, Any]]:
        """All rows, the finished ones best first."""
        return [*self.finished, *self.others]

    @property
    def scale(self) -> Scale:
        """Of the finished trials' validation accuracy."""
        scores = [row["validation_accuracy"] for row in self.finished]
        return Scale(min(scores), max(scores))


@dataclass(frozen=True)
class Scale:
    """From a score to one of `FIFTHS` equal parts between the lowest and the highest score."""

    low: float
    high: float

    def fifth(self, score: float) -> int:
        """0 for the lowest scores, 4 for the highest; 4 where all are equal."""
        if self.high <= self.low:
            return FIFTHS - 1
        return min(int((score - self.low) / (self.high - self.low) * FIFTHS), FIFTHS - 1)

    def extent(self, fifth: int) -> str:
        """ "0.612 to 0.684"."""
        step = (self.high - self.low) / FIFTHS
        return f"{self.low + fifth * step:.3f} to {self.low + (fifth + 1) * step:.3f}"

    def present(self) -> list[int]:
        """The fifths to tell of."""
        return list(range(FIFTHS)) if self.high > self.low else [FIFTHS - 1]


def said_trial(row: Mapping[str, Any]) -> str:
    """What hovering over a trial tells."""
    score = row["validation_accuracy"]
    found = f"inner validation accuracy {score:.3f}" if math.isfinite(score) else "no score"
    outer = f", test accuracy {row['accuracy']:.3f}" if math.isfinite(row["accuracy"]) else ""
    return f"trial {row['trial']} ({row['status']}): {found}{outer}"


def _rank(row: Mapping[str, Any]) -> tuple[float, float, int, int]:
    return (-round(row["validation_accuracy"], DECIMALS), row["validation_loss"], row["n_weights"], row["trial"])
