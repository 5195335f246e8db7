"""A folder of typed Parquet tables and one JSON summary: how the records of trainings are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from ms2img.errors import UsageError
from ms2img.io.atomic import replace_file

SUMMARY_NAME = "summary.json"

Columns = Mapping[str, str]  # the columns of a table, in order, with their types


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], columns: Mapping[str, Columns]) -> None:
    """Write each table as ``<name>.parquet``; `columns` holds those of each. The folder is made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, of_table in columns.items():
        with replace_file(folder / f"{name}.parquet") as temporary:
            typed(tables[name], of_table).to_parquet(temporary, index=False)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write the summary, NaN as null. To be called last: with it the record is complete."""
    with replace_file(folder / SUMMARY_NAME) as temporary:
        text = json.dumps(_plain(summary), indent=2, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path, kind: str) -> dict[str, Any]:
    """The summary; raises `UsageError` for a damaged file of a record of this `kind`."""
    with told_as_damage(folder / SUMMARY_NAME, kind):
        return json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8"))


def read_tables(folder: Path, columns: Mapping[str, Columns], kind: str) -> dict[str, pd.DataFrame]:
    """The tables by name; raises `UsageError` naming the file that is missing, damaged or of another kind."""
    tables = {}
    for name, of_table in columns.items():
        path = folder / f"{name}.parquet"
        with told_as_damage(path, kind):
            tables[name] = typed(pd.read_parquet(path), of_table)
    return tables


def require_record(folder: Path, command: str) -> None:
    """Raise `UsageError` unless the folder holds a finished record, which `command` makes."""
    if not (folder / SUMMARY_NAME).is_file():
        raise UsageError(f"{folder}: no {SUMMARY_NAME} here; expected the record of a finished '{command}'")


@contextmanager
def told_as_damage(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever reading `path` raises into a `UsageError` that names it and the `kind` of record."""
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:  # pyarrow's are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path}: not part of a {kind} record: {reason}") from None


def typed(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """`table` with exactly these columns, in this order, of these types; `KeyError` naming an absent one."""
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise KeyError(f"no column '{absent[0]}' among {', '.join(map(str, table.columns))}")
    return table[list(columns)].astype(dict(columns)).reset_index(drop=True)


def _plain(value: Any) -> Any:
    """numpy scalars as Python's, tuples as lists, NaN and infinity as null: what JSON can say."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
