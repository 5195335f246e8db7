"""The rule of the feature table, written a second time and as plainly as it is stated: no blocks, no pruning.

Every feature is compared, by all three similarities, with every entry there is. The tests hold the real one against it;
``bench/features.py`` measures what its blocks are worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Compare = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Feature:
    """A feature of one sample; `rt` is None where it is absent."""

    sample: str
    spectrum: str
    mz: float
    rt: float | None
    height: float
    peaks: Any


@dataclass
class Entry:
    """A founder and everything that joined it, itself included."""

    founder: Feature
    members: list[Feature] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Of all members together."""
        return sum(member.height for member in self.members)


def order(feature: Feature) -> tuple[Any, ...]:
    """By intensity (descending), m/z, retention time (absent ones last), sample, spectrum."""
    rt = (feature.rt is None, feature.rt or 0.0)
    return (-feature.height, feature.mz, rt, feature.sample, feature.spectrum)


def mean_similarity(one: Feature, other: Feature, sigma_mz: float, sigma_rt: float, compare: Compare) -> float:
    """The mean of the three similarities, or of two where a retention time is absent."""
    parts = [math.exp(-0.5 * ((one.mz - other.mz) / sigma_mz) ** 2)]
    if one.rt is not None and other.rt is not None:
        parts.append(math.exp(-0.5 * ((one.rt - other.rt) / sigma_rt) ** 2))
    parts.append(compare(one.peaks, other.peaks))
    return sum(parts) / len(parts)


def merge(
    features: Iterable[Feature], sigma_mz: float, sigma_rt: float, compare: Compare, *, one_a_sample: bool
) -> list[Entry]:
    """Each feature joins the most similar entry over 0.8, the first founded of equal ones, or founds one."""
    entries: list[Entry] = []
    for feature in sorted(features, key=order):
        best, best_mean = None, 0.8
        for entry in entries:
            mean = mean_similarity(entry.founder, feature, sigma_mz, sigma_rt, compare)
            is_free = not one_a_sample or all(member.sample != feature.sample for member in entry.members)
            if is_free and mean > best_mean:
                best, best_mean = entry, mean
        if best is None:
            best = Entry(feature)
            entries.append(best)
        best.members.append(feature)
    return entries
