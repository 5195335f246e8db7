"""One searched hyper-parameter: a grid of numbers, an interval, or a list of choices."""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ms2img.errors import UsageError

KINDS = ("int", "float", "log", "choice")
KEYS = (*KINDS, "step", "why")
DIGITS = 4  # significant digits of a value from an interval: short to read, and equal on any machine (ours)


@dataclass(frozen=True)
class Parameter(ABC):
    """What may be tried, and `why` it is in the space (may be empty)."""

    why: str

    @abstractmethod
    def draw(self, uniform: float) -> Any:
        """The value for a number drawn uniformly from [0, 1)."""

    @abstractmethod
    def exact(self, value: Any) -> Any:
        """The parameter's own value nearest to one that a searcher proposed (0.3 for 0.30000000000000004)."""

    @abstractmethod
    def corners(self) -> list[Any]:
        """The values at which a config that refuses any would refuse."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As in a space file; the inverse of `read_parameter`."""

    @abstractmethod
    def to_ray(self) -> Any:
        """The same as a domain of ``ray.tune``."""


@dataclass(frozen=True)
class Grid(Parameter):
    """`low`, `low + step`, ... `high`, all equally likely; exact decimals."""

    low: Decimal
    high: Decimal
    step: Decimal
    integer: bool

    def draw(self, uniform: float) -> int | float:
        """See `Parameter`."""
        return self._value(int(uniform * self._points()))

    def exact(self, value: float) -> int | float:
        """See `Parameter`."""
        index = round((value - float(self.low)) / float(self.step))
        return self._value(min(max(index, 0), self._points() - 1))

    def corners(self) -> list[int | float]:
        """See `Parameter`."""
        return [self._number(self.low), self._number(self.high)]

    def to_dict(self) -> dict[str, Any]:
        """See `Parameter`."""
        kind = "int" if self.integer else "float"
        return {kind: self.corners(), "step": self._number(self.step), "why": self.why}

    def to_ray(self) -> Any:
        """See `Parameter`."""
        from ray import tune

        low, high, step = (self._number(each) for each in (self.low, self.high, self.step))
        return tune.qrandint(low, high, step) if self.integer else tune.quniform(low, high, step)

    def _points(self) -> int:
        return int((self.high - self.low) / self.step) + 1

    def _value(self, index: int) -> int | float:
        return self._number(self.low + index * self.step)

    def _number(self, value: Decimal) -> int | float:
        return int(value) if self.integer else float(value)


@dataclass(frozen=True)
class Interval(Parameter):
    """A number between `low` and `high`, evenly spread itself or, with `log`, in its logarithm; `DIGITS` digits."""

    low: float
    high: float
    log: bool

    def draw(self, uniform: float) -> float:
        """See `Parameter`."""
        if self.log:
            return self.exact(self.low * math.exp(uniform * math.log(self.high / self.low)))
        return self.exact(self.low + uniform * (self.high - self.low))

    def exact(self, value: float) -> float:
        """See `Parameter`."""
        return min(max(float(f"{value:.{DIGITS - 1}e}"), self.low), self.high)

    def corners(self) -> list[float]:
        """See `Parameter`."""
        return [self.low, self.high]

    def to_dict(self) -> dict[str, Any]:
        """See `Parameter`."""
        return {"log" if self.log else "float": self.corners(), "why": self.why}

    def to_ray(self) -> Any:
        """See `Parameter`."""
        from ray import tune

        return tune.loguniform(self.low, self.high) if self.log else tune.uniform(self.low, self.high)


@dataclass(frozen=True)
class Choice(Parameter):
    """One of `values`, all equally likely."""

    values: tuple[Any, ...]

    def draw(self, uniform: float) -> Any:
        """See `Parameter`."""
        return self.values[int(uniform * len(self.values))]

    def exact(self, value: Any) -> Any:
        """See `Parameter`."""
        return value

    def corners(self) -> list[Any]:
        """See `Parameter`."""
        return list(self.values)

    def to_dict(self) -> dict[str, Any]:
        """See `Parameter`."""
        return {"choice": list(self.values), "why": self.why}

    def to_ray(self) -> Any:
        """See `Parameter`."""
        from ray import tune

        return tune.choice(list(self.values))


def read_parameter(told: Any) -> Parameter:
    """The parameter that a space file describes as `told`; raises `UsageError` saying what would be right."""
    kinds = [kind for kind in KINDS if isinstance(told, Mapping) and kind in told]
    if isinstance(told, Mapping):
        for key in told:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.0)[0]
                raise UsageError(f"unknown key '{key}'; did you mean '{near}'?")
    if len(kinds) != 1:
        raise UsageError(f"{told!r}; expected one of {', '.join(KINDS)}, as in 'int: [1, 3]'")
    [kind] = kinds
    why = told.get("why", "")
    if not isinstance(why, str):
        raise UsageError(f"why: {why!r}; expected text")
    if "step" in told and kind not in ("int", "float"):
        raise UsageError(f"a step goes with int or float, not with {kind}")
    if kind == "choice":
        return Choice(" ".join(why.split()), _choices(told["choice"]))
    low, high = _ends(kind, told[kind])
    if kind == "int" or "step" in told:
        return _grid(kind, low, high, told.get("step", 1), " ".join(why.split()))
    return Interval(" ".join(why.split()), float(low), float(high), log=kind == "log")


def _choices(told: Any) -> tuple[Any, ...]:
    if not isinstance(told, list) or not told:
        raise UsageError(f"choice: {told!r}; expected a list of one value or more")
    for value in told:
        if value is not None and not isinstance(value, str | int | float):
            raise UsageError(f"choice: {value!r}; expected numbers, words, true, false or null")
    values = tuple(_number(value) if _is_number(value) else value for value in told)
    if len({(type(value), value) for value in values}) < len(values):
        raise UsageError(f"choice: {told!r}; a value occurs twice")
    return values


def _ends(kind: str, told: Any) -> tuple[float, float]:
    """Both ends of a range, the lower one first."""
    if not isinstance(told, list) or len(told) != 2 or not all(_is_number(each) for each in told):
        raise UsageError(f"{kind}: {told!r}; expected [lowest, highest], two numbers")
    low, high = (_number(each) for each in told)
    if kind == "int" and not all(isinstance(each, int) for each in (low, high)):
        raise UsageError(f"{kind}: {told!r}; expected two whole numbers, or use float")
    if not low < high:
        raise UsageError(f"{kind}: {told!r} is empty; expected the lower end first (choice: [{low}] fixes a value)")
    if kind == "log" and low <= 0:
        raise UsageError(f"log: {told!r}; expected both ends above 0")
    return low, high


def _grid(kind: str, low: float, high: float, step: Any, why: str) -> Grid:
    if not _is_number(step) or _number(step) <= 0 or (kind == "int" and not isinstance(_number(step), int)):
        raise UsageError(f"step: {step!r}; expected a{' whole' if kind == 'int' else ''} number above 0")
    first, last, width = (Decimal(str(_number(each))) for each in (low, high, step))
    if (last - first) % width:
        below = last - (last - first) % width
        raise UsageError(
            f"step {width} does not lead from {first} to {last}; end at {below} or {below + width}, or change the step"
        )
    return Grid(why, first, last, width, integer=kind == "int")


def _is_number(value: Any) -> bool:
    if isinstance(value, str):  # YAML 1.1 takes 1e-6, without a point, for text
        try:
            value = float(value)
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> int | float:
    return float(value) if isinstance(value, str) else value
