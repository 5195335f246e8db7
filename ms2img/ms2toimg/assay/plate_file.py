"""Plate files: a tidy table, one row a well, or 8 x 12 grids of optical densities with a layout beside them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from ms2img.errors import UsageError
from ms2img.ms2toimg.assay.text_table import Rows, read_rows
from ms2img.ms2toimg.assay.wells import Well, number, require_sound, well_name, well_of

FIRST_PLATE = "1"  # a plate without a name
EMPTY = "empty"  # the kind of a well that holds nothing
COLUMNS = ("well", "kind", "accession", "replicate", "concentration", "od", "plate")
ALIASES = {"sample": "accession"}
ROW_LETTERS, N_COLUMNS = "ABCDEFGH", 12

_Cells = tuple[int, dict[str, str]]  # a row of a tidy table: its number, column -> cell
_Grid = dict[str, tuple[float, int]]  # well -> its OD and row


def read_plates(path: str, layout: str | None = None) -> tuple[list[Well], list[str]]:
    """The wells of a plate file, and in sentences what of it is not used.

    Tidy: columns ``well, kind, od``, and ``accession`` (or ``sample``), ``concentration``, ``replicate``, ``plate``
    where they apply. Grids: as plate readers export them, a row of the column numbers 1 to 12 above rows A to H; a line
    "Plate NAME" above a grid names it, else they are numbered. `layout` then has the tidy columns but ``od``, and
    holds for every plate unless it has a column ``plate``.

    Raises `UsageError`: file, row, and what would be right.
    """
    rows = read_rows(path)
    grids = dict(_grids(rows, path))
    if not grids and layout is not None:
        raise UsageError(f"{path}: --layout belongs to a grid of ODs: a row with 1 to 12 above rows A to H")
    if not grids:
        wells = [
            well_of(cells, plate=cells.get("plate") or FIRST_PLATE, where=f"{path}: row {row}", row=row)
            for row, cells in _tidy(rows, path, ("well", "kind", "od"))
            if not _is_empty(cells)
        ]
        require_sound(wells, path)
        return wells, []
    if layout is None:
        raise UsageError(f"{path}: a grid of ODs needs --layout LAYOUT.csv (well, kind, accession, concentration)")
    described = list(_tidy(read_rows(layout), layout, ("well", "kind")))
    wells, unused = _of_layout(grids, described, path, layout)
    require_sound(wells, layout)
    return wells, unused


def _tidy(rows: Rows, path: str, required: tuple[str, ...]) -> Iterator[_Cells]:
    """The rows below a header, by column."""
    header = [ALIASES.get(name.lower(), name.lower()) for name in rows[0][1]]
    for name in required:
        if name not in header:
            near = difflib.get_close_matches(name, [each for each in header if each not in COLUMNS], n=1)
            hint = f"; is '{near[0]}' it? rename it" if near else ""
            grid = "" if "od" not in required else ", or a grid: 1 to 12 above rows A to H"
            raise UsageError(
                f"{path}: row {rows[0][0]}: no column '{name}'{hint} (expected {', '.join(required)}{grid})"
            )
    twice = next((name for place, name in enumerate(header) if name and name in header[:place]), None)
    if twice is not None:
        raise UsageError(f"{path}: row {rows[0][0]}: two columns are '{twice}'")
    for row, cells in rows[1:]:
        if len(cells) > len(header) and any(cells[len(header) :]):
            hint = "; a decimal comma? write the decimal sign as a point" if len(cells) == len(header) + 1 else ""
            raise UsageError(f"{path}: row {row}: {len(cells)} cells, but the header has {len(header)}{hint}")
        yield row, dict(zip(header, cells, strict=False))


def _grids(rows: Rows, path: str) -> Iterator[tuple[str, _Grid]]:
    """Each 8 x 12 block with its plate's name."""
    numbers = [str(column) for column in range(1, N_COLUMNS + 1)]
    above = ""
    names: set[str] = set()
    for place, (row, cells) in enumerate(rows):
        if cells[1 : N_COLUMNS + 1] != numbers:
            above = " ".join(filter(None, cells)) if cells[0].lower().startswith("plate") else above
            continue
        name = above[len("plate") :].strip(" :#") or str(len(names) + 1)
        if name in names:
            raise UsageError(f"{path}: row {row}: a second plate called '{name}'")
        names.add(name)
        above = ""
        yield name, _grid(rows[place + 1 : place + 1 + len(ROW_LETTERS)], path, row)


def _grid(rows: Rows, path: str, header: int) -> _Grid:
    """The ODs of one block; empty cells are wells without one."""
    if "".join(cells[0].upper() for _, cells in rows) != ROW_LETTERS:
        raise UsageError(f"{path}: row {header}: column numbers of a grid, but below it are not the rows A to H")
    grid: _Grid = {}
    for row, cells in rows:
        for column, text in enumerate(cells[1 : N_COLUMNS + 1], 1):
            name = f"{cells[0].upper()}{column}"
            if text:
                grid[name] = (number(text, "od", f"{path}: row {row}: well {name}:"), row)
    return grid


def _of_layout(
    grids: Mapping[str, _Grid], described: list[_Cells], path: str, layout: str
) -> tuple[list[Well], list[str]]:
    """Each described well with the OD that the grids have of it; wells that are not described are not used."""
    wells: list[Well] = []
    described_wells: set[tuple[str, str]] = set()
    for row, cells in described:
        name = well_name(cells.get("well", ""), f"{layout}: row {row}")
        plates = [cells["plate"]] if cells.get("plate") else list(grids)
        for plate in plates:
            if plate not in grids:
                raise UsageError(f"{layout}: row {row}: plate '{plate}', but {path} has {', '.join(grids)}")
            described_wells.add((plate, name))
            if _is_empty(cells):
                continue
            if name not in grids[plate]:
                raise UsageError(f"{layout}: row {row}: {path} has no OD in well {name} of plate {plate}")
            given = {**cells, "od": repr(grids[plate][name][0])}
            wells.append(well_of(given, plate=plate, where=f"{layout}: row {row}", row=row))
    unused = [
        f"plate {plate}: {len(left)} wells with an OD are not in the layout: {', '.join(left[:5])}"
        + (", ..." if len(left) > 5 else "")
        for plate, grid in grids.items()
        if (left := [name for name in grid if (plate, name) not in described_wells])
    ]
    return wells, unused


def _is_empty(cells: Mapping[str, str]) -> bool:
    """Whether a well is said to be unused."""
    return cells.get("kind", "").lower() == EMPTY
