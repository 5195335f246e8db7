"""The two classes in words, and the thresholds around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Classes:
    """Names of the classes; the thresholds between them, scaled 0-1 and in the assay's unit; the decision threshold.

    An accession is called active from a probability of `cut`.
    """

    active: str
    inactive: str
    active_is_high: bool
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
        active_is_high = label["active"] == "high"
        names = (f"high {label['assay']}", f"low {label['assay']}")
        return cls(
            active=names[0 if active_is_high else 1],
            inactive=names[1 if active_is_high else 0],
            active_is_high=active_is_high,
            low_scaled=low,
            high_scaled=high,
            low=bottom + low * distance,
            high=bottom + high * distance,
            cut=float(summary["threshold"]),
        )

    def name(self, target: int) -> str:
        """What the page calls the class of this target: 1 active, 0 inactive, -1 between the thresholds."""
        return {1: self.active, 0: self.inactive, -1: "between"}[target]
