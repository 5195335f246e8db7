"""The cells of a sample sheet, from CSV, TSV or Parquet, before they mean anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import UsageError

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class SheetTable:
    """`columns`: name -> cells; `rows`: each row's number in the file as a spreadsheet shows it, the header being 1."""

    path: Path
    columns: dict[str, list[Any]]
    rows: tuple[int, ...]


def read_table(path: Path) -> SheetTable:
    """Read the cells: text (None where empty) of a text file, the values of a Parquet file.

    Raises `UsageError`: unreadable, of another format, not UTF-8, a name twice, a row of another width, no row.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TEXT_SUFFIXES, ".parquet"):
        raise UsageError(f"{path}: a sample sheet is {', '.join(TEXT_SUFFIXES)} or .parquet, not '{suffix}'")
    try:
        table = _from_parquet(path) if suffix == ".parquet" else _from_text(path, suffix)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the sample sheet: {(error.strerror or str(error)).lower()}") from None
    if not table.rows:
        raise UsageError(f"{path}: the sample sheet has no row below its header")
    return table


def _from_parquet(path: Path) -> SheetTable:
    try:
        # `open` first: pyarrow would take a folder for a data set, and has its own words for a missing file.
        with path.open("rb") as handle:
            table = pq.read_table(handle)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    _refuse_twice(path, table.schema.names)
    return SheetTable(path, table.to_pydict(), tuple(range(2, len(table) + 2)))


def _from_text(path: Path, suffix: str) -> SheetTable:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; save the sheet as CSV UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{path}: holds NUL characters; save the sheet as CSV UTF-8")
    first = text.partition("\n")[0]
    delimiter = "\t" if suffix == ".tsv" or "\t" in first else ","
    if delimiter not in first and ";" in first:
        raise UsageError(f"{path}: row 1: cells are parted by semicolons; save the sheet with commas or tabs")
    lines = _records(path, text, delimiter)
    _, header = next(lines, (1, []))
    header = _strip_empty_end([name.strip() for name in header])
    for place, name in enumerate(header, 1):
        if not name:
            raise UsageError(f"{path}: row 1: column {place} has no name")
    _refuse_twice(path, header)
    rows: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in header}
    for row, cells in lines:
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise UsageError(f"{path}: row {row}: {len(cells)} cells, but the header has {len(header)}")
        rows.append(row)
        for name, cell in zip(header, cells, strict=False):
            columns[name].append(cell.strip() or None)
    return SheetTable(path, columns, tuple(rows))


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with their numbers, without those that are wholly empty."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    row = 0
    try:
        for row, cells in enumerate(reader, 1):
            if any(cell.strip() for cell in cells):
                yield row, cells
    except csv.Error as error:
        raise UsageError(f"{path}: row {row + 1}: not valid CSV: {error}") from None


def _strip_empty_end(names: list[str]) -> list[str]:
    """Without the nameless columns a spreadsheet leaves at the right."""
    while names and not names[-1]:
        names = names[:-1]
    return names


def _refuse_twice(path: Path, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"{path}: row 1: two columns are called '{name}'")
