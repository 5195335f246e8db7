"""Cells of a feature table as numbers and text; a cell that is neither is a `RunError` that names its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ms2img.errors import Code, RunError

NULL_CELLS = frozenset({"", "null", "NA"})  # how MS-DIAL and mzmine write "no value"
SECONDS_A_MINUTE = 60.0
MAX_COLUMNS = 200_000  # ours: 100,000 runs and as many averages; each column costs about 1 kB while a header is read

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


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
        message = f"{what} '{stripped[:40]}' is no number{decimal_hint(stripped)}"
        raise RunError(Code.BAD_VALUE, message, path=path, position=f"line {line}") from None


def required_number(cell: str, what: str, *, path: str, line: int) -> float:
    """As `number`, for a cell that may not be null."""
    value = number(cell, what, path=path, line=line)
    if value is None:
        raise RunError(Code.BAD_VALUE, f"{what} is empty", path=path, position=f"line {line}")
    return value


def decimal_hint(cell: str) -> str:
    """What to say of a cell that is a number but for its decimal comma; nothing of any other."""
    return "; write the decimal sign as a point" if _DECIMAL_COMMA.fullmatch(cell) else ""


def check_width(cells: Sequence[str], header: Sequence[str], *, path: str, line: int) -> None:
    """Raise `RunError` unless a row has the header's number of cells (more are fine while they are empty)."""
    if len(cells) < len(header):
        message = f"the row has {len(cells)} of the header's {len(header)} cells"
        raise RunError(Code.TRUNCATED, message, path=path, position=f"line {line}")
    if any(cells[len(header) :]):
        message = f"the row has {len(cells)} cells, the header {len(header)}"
        raise RunError(Code.BAD_VALUE, message, path=path, position=f"line {line}")


def check_header(header: Sequence[str], *, path: str, line: int) -> None:
    """Raise `RunError` TOO_LARGE for a header of more than `MAX_COLUMNS` cells."""
    if len(header) > MAX_COLUMNS:
        message = f"a header of {len(header)} columns; at most {MAX_COLUMNS} are read"
        raise RunError(Code.TOO_LARGE, message, path=path, position=f"line {line}")


class DecimalMarks:
    """The numbers of a semicolon table with a point for their decimal mark, whichever the file has.

    A spreadsheet of a country with decimal commas parts the cells by semicolons and may keep points as thousands
    separators, so that one file may hold either mark, never both: "1.234" beside "0,5" could mean two numbers.
    """

    def __init__(self, path: str, places: Collection[int]) -> None:
        """`places`: the cells of a row that are numbers."""
        self._path = path
        self._places = places
        self._mark = ""
        self._first = 0

    def pointed(self, row: list[str], line: int) -> list[str]:
        """The row with its numbers' commas as points. Raises `RunError` BAD_VALUE at the file's second mark."""
        for place in self._places:
            for mark in ",.":
                if mark not in row[place]:
                    continue
                self._mark, self._first = self._mark or mark, self._first or line
                if mark != self._mark:
                    message = (
                        f"'{row[place][:40]}' has another decimal mark than line {self._first}: "
                        f"save the table without thousands separators"
                    )
                    raise RunError(Code.BAD_VALUE, message, path=self._path, position=f"line {line}")
            row[place] = row[place].replace(",", ".")
        return row
