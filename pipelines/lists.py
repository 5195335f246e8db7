"""How lists are written on a command line: with commas between; YAML may write them as lists."""

from __future__ import annotations

import math
from typing import Any


def listed(text: str) -> list[str]:
    """What stands between the commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


def joined(value: Any) -> Any:
    """A list, as YAML has it, as the text of the command line; a number as its text."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def numbers(text: str) -> list[float]:
    """The numbers between the commas; raises `ValueError` for what is none."""
    try:
        found = [float(each) for each in listed(text)]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(each) and each >= 0 for each in found):
        raise ValueError("expected numbers, 0 or more, with commas between, such as 20,40,60")
    return found
