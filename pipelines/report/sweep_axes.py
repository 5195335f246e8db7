"""A searched hyper-parameter as an axis: where a value lies on it, what is written at it, log where the search was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.assay_figures import shortened
from pipelines.report.svg import Span, nice_ticks, tick_text

EVERY_LEVEL = 5  # levels of a grid up to which each has its tick (ours)
NAME_LENGTH = 9  # characters of a choice at its tick (ours)
APART = 0.06  # distance of trials with an equal value, as a share of that between levels (ours)
SPREAD = 0.6  # ... and how much of it they take at the most (ours)
PAD = 0.04  # room beside an interval, as a share of it


@dataclass(frozen=True)
class Axis:
    """`span`: of positions, with some room; `ticks`: position -> text; `gap`: between levels, 0 for an interval."""

    name: str
    span: Span
    ticks: dict[float, str]
    gap: float
    log: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, parameter: Mapping[str, Any]) -> Axis:
        """From one of ``Space.to_dict()["parameters"]``: an int, float (both perhaps with a step), log or choice."""
        if "choice" in parameter:
            choices = tuple(parameter["choice"])
            ticks = {float(index): shortened(said_value(value), NAME_LENGTH) for index, value in enumerate(choices)}
            return cls(name, (-0.5, len(choices) - 0.5), ticks, 1.0, choices=choices)
        if "log" in parameter:
            low, high = (math.log10(float(end)) for end in parameter["log"])
            return cls(name, _padded(low, high), _log_ticks(low, high), 0.0, log=True)
        low, high = (float(end) for end in parameter["int" if "int" in parameter else "float"])
        gap = float(parameter.get("step") or (1.0 if "int" in parameter else 0.0))
        levels = [low + index * gap for index in range(round((high - low) / gap) + 1)] if gap else []
        at = levels if 0 < len(levels) <= EVERY_LEVEL else nice_ticks(low, high, most=4) if high > low else [low]
        span = (low - gap / 2, high + gap / 2) if gap else _padded(low, high)
        return cls(name, span, {tick: tick_text(tick) for tick in at}, gap)

    def position(self, value: Any) -> float:
        """Where `value` lies: its number, its logarithm or the number of its choice."""
        if self.choices:
            return float(self.choices.index(value))
        return math.log10(value) if self.log else float(value)

    def places(self, values: Sequence[Any]) -> list[float]:
        """Positions of several trials, in an order that should be that of their score: equal values lie side by side.

        Only where the values are levels or choices; within an interval each trial is where it is.
        """
        positions = [self.position(value) for value in values]
        if not self.gap:
            return positions
        members: dict[float, list[int]] = {}
        for index, position in enumerate(positions):
            members.setdefault(position, []).append(index)
        for position, group in members.items():
            apart = self.gap * min(APART, SPREAD / max(len(group) - 1, 1))
            for rank, index in enumerate(group):
                positions[index] = position + (rank - (len(group) - 1) / 2) * apart
        return positions

    def share(self, position: float) -> float:
        """The position as a share of the axis, 0 to 1."""
        return (position - self.span[0]) / (self.span[1] - self.span[0])


def axes_of(space: Mapping[str, Any], names: Sequence[str]) -> list[Axis]:
    """The axes of a record's space, in the order of `names`."""
    return [Axis.of(name, space["parameters"][name]) for name in names]


def said_values(values: Mapping[str, Any]) -> str:
    """``units 128, learning_rate 3.1e-05``."""
    return ", ".join(f"{name} {said_value(value)}" for name, value in values.items())


def said_value(value: Any) -> str:
    """A hyper-parameter's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _padded(low: float, high: float) -> Span:
    room = (high - low) * PAD or 0.5
    return low - room, high + room


def _log_ticks(low: float, high: float) -> dict[float, str]:
    """Whole powers of ten, at most five of them; the two ends where there are none or one."""
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(powers) < 2:
        return {end: f"{10**end:.2g}" for end in (low, high)}
    step = math.ceil(len(powers) / 5)
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return {float(power): f"10{str(power).translate(digits)}" for power in powers[::step]}
