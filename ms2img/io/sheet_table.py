"""The cells of a sample sheet, from CSV, TSV or Parquet, before they mean anything."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.location import suffix

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class SheetTable:
    """The cells of one sheet.

    `columns`: name -> cells; `rows`: each row's number in the file as a spreadsheet shows it, the header being 1;
    `digest`: a hash of the file's bytes.
    """

    path: str
    columns: dict[str, list[Any]]
    rows: tuple[int, ...]
    digest: str


def read_table(path: str) -> SheetTable:
    """Read the cells: text (None where empty) of a text file, the values of a Parquet file; a local path or s3://.

    Raises `UsageError`: unreadable, of another format, not UTF-8, a name twice, a row of another width, no row.
    """
    ending = suffix(path)
    if ending not in (*TEXT_SUFFIXES, ".parquet"):
        raise UsageError(f"{path}: a sample sheet is {', '.join(TEXT_SUFFIXES)} or .parquet, not '{ending}'")
    content = _content(path)
    columns, rows = _from_parquet(path, content) if ending == ".parquet" else _from_text(path, content, ending)
    if not rows:
        raise UsageError(f"{path}: the sample sheet has no row below its header")
    return SheetTable(path, columns, rows, hashlib.blake2b(content, digest_size=16).hexdigest())


def _content(path: str) -> bytes:
    storage.require_access([path])
    try:
        with storage.open_bytes(path) as handle:
            return handle.read()
    except RunError as error:
        raise UsageError(f"{path}: cannot read the sample sheet: {error.message}") from None


def _from_parquet(path: str, content: bytes) -> tuple[dict[str, list[Any]], tuple[int, ...]]:
    try:
        table = pq.read_table(pa.BufferReader(content))
        _refuse_twice(path, table.schema.names)
        columns = table.to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:  # the last two: of a damaged file
        raise UsageError(f"{path}: not a sound Parquet file: {str(error).partition(chr(10))[0]}") from None
    return columns, tuple(range(2, len(table) + 2))


def _from_text(path: str, content: bytes, ending: str) -> tuple[dict[str, list[Any]], tuple[int, ...]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; save the sheet as CSV UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{path}: holds NUL characters; save the sheet as CSV UTF-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # a lone CR is how "CSV (Macintosh)" ends its lines
    first = text.partition("\n")[0]
    delimiter = "\t" if ending == ".tsv" or "\t" in first else ","
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
    return columns, tuple(rows)


def _records(path: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
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


def _refuse_twice(path: str, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"{path}: row 1: two columns are called '{name}'")
