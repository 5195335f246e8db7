"""Cells of a feature table as numbers and text; a cell that is neither is a `RunError` that names its line."""

from __future__ import annotations

from collections.abc import Sequence

from ms2img.errors import Code, RunError

NULL_CELLS = frozenset({"", "null", "NA"})  # how MS-DIAL and mzmine write "no value"
SECONDS_A_MINUTE = 60.0


def text(cell: str) -> str | None:
    """The cell's text, None where it says null."""
    stripped = cell.strip()
    return None if stripped in NULL_CELLS else stripped


def number(cell: str, what: str, *, path: str, line: int) -> float | None:
    """The cell as a float (it may not be finite), None where it says null; `what` names it in the error."""
    stripped = text(cell)
    if stripped is None:
        return None
    try:
        return float(stripped)
    except ValueError:
        raise RunError(
            Code.BAD_VALUE, f"{what} '{stripped[:40]}' is no number", path=path, position=f"line {line}"
        ) from None


def required_number(cell: str, what: str, *, path: str, line: int) -> float:
    """As `number`, for a cell that may not be null."""
    value = number(cell, what, path=path, line=line)
    if value is None:
        raise RunError(Code.BAD_VALUE, f"{what} is empty", path=path, position=f"line {line}")
    return value


def check_width(cells: Sequence[str], header: Sequence[str], *, path: str, line: int) -> None:
    """Raise `RunError` unless a row has the header's number of cells (more are fine while they are empty)."""
    if len(cells) < len(header):
        message = f"the row has {len(cells)} of the header's {len(header)} cells"
        raise RunError(Code.TRUNCATED, message, path=path, position=f"line {line}")
    if any(cells[len(header) :]):
        message = f"the row has {len(cells)} cells, the header {len(header)}"
        raise RunError(Code.BAD_VALUE, message, path=path, position=f"line {line}")
