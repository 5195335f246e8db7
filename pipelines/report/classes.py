"""The two classes and the thresholds around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Classes:
    """The classes' names; the thresholds between them, scaled 0-1 and in the assay's unit; the decision threshold.

    An accession is called active from a probability of `cut`.
    """

    active: str  # "high" | "low": the class whose probability is told
    inactive: str
    low_scaled: float
    high_scaled: float
    low: float
    high: float
    cut: float

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Self:
        """From the record's summary: its label section and its decision threshold."""
        label = summary["label"]
        low, high, bottom = float(label["low"]), float(label["high"]), float(label["value_min"])
        distance = float(label["value_max"]) - bottom
        return cls(
            active=label["active"],
            inactive="low" if label["active"] == "high" else "high",
            low_scaled=low,
            high_scaled=high,
            low=bottom + low * distance,
            high=bottom + high * distance,
            cut=float(summary["threshold"]),
        )

    def name(self, target: int) -> str:
        """What the page calls the class of this target: 1 active, 0 inactive, -1 between the thresholds."""
        return {1: self.active, 0: self.inactive, -1: "between"}[target]
