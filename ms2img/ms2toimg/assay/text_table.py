"""The cells of a text table whose first row need not be a header: what plate readers export."""

from __future__ import annotations

import csv
import io

from ms2img.errors import RunError, UsageError
from ms2img.io import storage
from ms2img.io.location import suffix

SUFFIXES = (".csv", ".tsv", ".txt")
Rows = list[tuple[int, list[str]]]


def read_rows(path: str) -> Rows:
    """Every row that is not wholly empty, with its number in the file from 1; cells are stripped text.

    The delimiter is the one that the file's lines have most of: a tab, a comma, or a semicolon.

    Raises `UsageError`: no such file, of another kind, not UTF-8, not CSV, nothing in it.
    """
    if suffix(path) not in SUFFIXES:
        raise UsageError(f"{path}: a plate is {', '.join(SUFFIXES)}, not '{suffix(path)}'; save it as CSV UTF-8")
    storage.require_access([path])
    try:
        with storage.open_bytes(path) as handle:
            text = handle.read().decode("utf-8-sig")
    except RunError as error:
        raise UsageError(f"{path}: cannot read the plate: {error.message}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; save the plate as CSV UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{path}: holds NUL characters; save the plate as CSV UTF-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    delimiter = max("\t,;", key=lambda each: sum(each in line for line in text.splitlines()))
    rows: Rows = []
    row = 0
    try:
        for row, cells in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), 1):
            if any(cell.strip() for cell in cells):
                rows.append((row, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise UsageError(f"{path}: row {row + 1}: not valid CSV: {error}") from None
    if not rows:
        raise UsageError(f"{path}: the plate has no row")
    return rows
