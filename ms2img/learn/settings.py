"""Frozen settings as plain dataclasses: closed like `ms2img.config.Config`, yet free of every dependency."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ms2img.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Base of settings that travel with a model: to and from a JSON mapping, unknown keys refused."""

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; raises `UsageError` that names the nearest known key for an unknown one."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                raise UsageError(f"{cls.__name__}: unknown key '{key}'; did you mean '{near}'?")
        return cls(**values)

    def _require_int(self, name: str, *, low: int, high: int | None = None) -> None:
        value = getattr(self, name)
        inside = isinstance(value, int) and not isinstance(value, bool) and value >= low
        if not inside or (high is not None and value > high):
            span = f"{low} or more" if high is None else f"from {low} to {high}"
            raise UsageError(f"{name}: {value!r}; expected an integer, {span}")

    def _require_float(self, name: str, *, low: float, high: float, low_open: bool = False) -> None:
        """Check low <= value < high, or low < value < high with `low_open`."""
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not (low < value if low_open else low <= value) or not value < high:
            start = f"above {low:g}" if low_open else f"at least {low:g}"
            end = "" if math.isinf(high) else f" and below {high:g}"
            raise UsageError(f"{name}: {value!r}; expected a number {start}{end}")

    def _require_one_of(self, name: str, allowed: Iterable[str]) -> None:
        value, choices = getattr(self, name), list(allowed)
        if value not in choices:
            raise UsageError(f"{name}: {value!r}; expected one of {', '.join(choices)}")
