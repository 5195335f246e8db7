"""What a check says: one line for a person, the same as values for a machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended. Only `RED` makes the command fail."""

    GREEN = "green"
    YELLOW = "yellow"  # works, and will not for ever
    RED = "red"
    GREY = "grey"  # not asked


@dataclass(frozen=True)
class Finding:
    """One line: which check, how it ended, what was seen, and for red and yellow what to do."""

    check: str
    state: State
    text: str
    remedy: str = ""

    def line(self) -> str:
        """For a person."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.state:<6}  {self.check:<8}  {self.text}{remedy}"

    def values(self) -> dict[str, str]:
        """For a machine."""
        return {key: str(value) for key, value in asdict(self).items()}


def green(check: str, text: str) -> Finding:
    """As it should be."""
    return Finding(check, State.GREEN, text)


def yellow(check: str, text: str, remedy: str) -> Finding:
    """Works for now."""
    return Finding(check, State.YELLOW, text, remedy)


def red(check: str, text: str, remedy: str) -> Finding:
    """Broken, and what to do."""
    return Finding(check, State.RED, text, remedy)


def grey(check: str, text: str) -> Finding:
    """Not asked, and why."""
    return Finding(check, State.GREY, text)


def first_and_more(faults: list[str]) -> str:
    """The first fault in full, and how many more there are."""
    return faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more)"
