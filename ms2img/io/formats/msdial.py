"""What MS-DIAL's tab-separated exports have in common: rows of cells, and spectra as ``mz:intensity`` in one cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from ms2img.errors import Code, RunError
from ms2img.io.formats.cells import SECONDS_A_MINUTE, number, text


def rows(handle: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The lines of an export as (line number, cells); blank lines are left out.

    Cells hold no tab and no line break, and quotes in them are text (names of metabolites): nothing is unquoted.
    """
    for line_number, line in enumerate(handle, 1):
        if line.strip("\t\n "):
            yield line_number, line.rstrip("\n").split("\t")


def find_columns(header: Sequence[str], known: Mapping[str, Sequence[str]], *, path: str, line: int) -> dict[str, int]:
    """Index in `header` of each column in `known` (our name -> the names versions of MS-DIAL give it).

    A name that ends in "?" may be absent. Raises `RunError` BAD_HEADER naming the first required one that is.
    """
    places: dict[str, int] = {}
    for name, spellings in known.items():
        place = next((header.index(spelling) for spelling in spellings if spelling in header), None)
        if place is not None:
            places[name.rstrip("?")] = place
        elif not name.endswith("?"):
            message = f"no column '{spellings[0]}': an MS-DIAL export with MS/MS spectra has one"
            raise RunError(Code.BAD_HEADER, message, path=path, position=f"line {line}")
    return places


def seconds(cell: str, *, path: str, line: int) -> float | None:
    """A retention time in minutes as seconds; None where it is null. MS-DIAL 5 writes -1 for an unknown one."""
    minutes = number(cell, "retention time", path=path, line=line)
    return minutes * SECONDS_A_MINUTE if minutes is not None else None


def peaks(cell: str, *, path: str, line: int) -> tuple[list[float], list[float]]:
    """m/z and intensities of a spectrum cell ``"mz:intensity mz:intensity"``; both empty for a null cell."""
    mz: list[float] = []
    intensity: list[float] = []
    for pair in (text(cell) or "").split():
        left, _, right = pair.partition(":")
        try:
            mz.append(float(left))
            intensity.append(float(right))
        except ValueError:
            message = f"'{pair[:40]}' in the MS/MS spectrum is no 'mz:intensity'"
            raise RunError(Code.BAD_VALUE, message, path=path, position=f"line {line}") from None
    return mz, intensity
