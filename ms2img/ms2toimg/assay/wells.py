"""A well of a plate, and what makes a plate sound: every cell checked, every refusal with file and row."""

from __future__ import annotations

import difflib
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ms2img.errors import UsageError

BLANK, STANDARD, SAMPLE, CONTROL, SAMPLE_BLANK = "blank", "standard", "sample", "control", "sample-blank"
KINDS = (BLANK, STANDARD, SAMPLE, CONTROL, SAMPLE_BLANK)
NAMED = (SAMPLE, CONTROL, SAMPLE_BLANK)  # kinds that belong to an accession
_WELL = re.compile(r"([A-Ha-h])0?([1-9]|1[0-2])")


@dataclass(frozen=True)
class Well:
    """One measured well of a 96-well plate; `row` is its row in the file, for messages.

    `od`: optical density, >= 0. `concentration`: of a standard, in the file's unit; NaN for other kinds.
    """

    plate: str
    name: str
    kind: str
    accession: str
    replicate: str
    concentration: float
    od: float
    row: int


def well_of(cells: Mapping[str, str], *, plate: str, where: str, row: int) -> Well:
    """A well from its cells (``well, kind, accession, replicate, concentration, od``; absent ones empty).

    `where` begins a message. Raises `UsageError`: a well that no 96-well plate has, an unknown kind, no accession where
    one is due, a standard without concentration, an OD that is no number or negative.
    """
    kind = cells.get("kind", "").lower().replace("_", "-")
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UsageError(f"{where}: kind is '{kind}', expected one of {', '.join(KINDS)}{hint}")
    accession = cells.get("accession", "")
    if kind in NAMED and not accession:
        raise UsageError(f"{where}: a {kind} needs its accession")
    concentration = math.nan
    if kind == STANDARD:
        concentration = number(cells.get("concentration", ""), "concentration", f"{where}: a standard's")
    return Well(
        plate=plate,
        name=well_name(cells.get("well", ""), where),
        kind=kind,
        accession=accession if kind in NAMED else "",
        replicate=cells.get("replicate", ""),
        concentration=concentration,
        od=number(cells.get("od", ""), "od", f"{where}:"),
        row=row,
    )


def well_name(text: str, where: str) -> str:
    """``C4`` of "C4", "c04"; raises `UsageError` for what is no well of a 96-well plate."""
    found = _WELL.fullmatch(text)
    if found is None:
        raise UsageError(f"{where}: well is '{text}', expected A1 to H12")
    return f"{found[1].upper()}{found[2]}"


def number(text: str, what: str, where: str) -> float:
    """A number >= 0; raises `UsageError` with what would be right."""
    try:
        value = float(text)
    except ValueError:
        hint = "; a well out of range or unused is left out, with its row" if text else "; leave out a row without one"
        if re.fullmatch(r"[+-]?\d+,\d+", text):
            hint = "; write the decimal sign as a point"
        raise UsageError(f"{where} {what} is '{text}', expected a number{hint}") from None
    if not 0 <= value < math.inf:
        raise UsageError(f"{where} {what} is '{text}', expected a finite number >= 0")
    return value


def require_sound(wells: Sequence[Well], path: str) -> None:
    """Refuse wells that cannot be evaluated together: one well twice, a plate without a blank or with a dark one."""
    seen: dict[tuple[str, str], int] = {}
    kinds: dict[str, set[str]] = defaultdict(set)
    for well in wells:
        first = seen.setdefault((well.plate, well.name), well.row)
        if first != well.row:
            raise UsageError(f"{path}: rows {first} and {well.row}: both are well {well.name} of plate {well.plate}")
        kinds[well.plate].add(well.kind)
        if well.kind == BLANK and well.od == 0:
            raise UsageError(
                f"{path}: row {well.row}: the blank's od is 0, and values are shares of it; expected the reagent "
                "without a sample, the well of the most colour"
            )
    for plate, found in kinds.items():
        if BLANK not in found:
            raise UsageError(f"{path}: plate {plate} has no well of kind 'blank' (the reagent without a sample)")
    if not any(well.kind in (SAMPLE, CONTROL) for well in wells):
        raise UsageError(f"{path}: no well of kind 'sample' or 'control'")
    _require_partners(wells, path)


def _require_partners(wells: Sequence[Well], path: str) -> None:
    """Refuse a sample's own blank that has no sample on its plate: a name misspelt."""
    sampled: Collection[tuple[str, str]] = {(each.plate, each.accession) for each in wells if each.kind == SAMPLE}
    for well in wells:
        if well.kind == SAMPLE_BLANK and (well.plate, well.accession) not in sampled:
            message = f"plate {well.plate} has a sample-blank of '{well.accession}', but no sample of that accession"
            raise UsageError(f"{path}: row {well.row}: {message}")
