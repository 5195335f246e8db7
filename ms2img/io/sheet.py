"""The sample sheet: which runs there are, where their files lie, and what was measured of them.

One row a run. ``sample_id`` and ``path`` are required; `RESERVED` lists the other columns with a meaning; every further
column is free metadata and becomes an assay when a command names it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ms2img.errors import UsageError
from ms2img.io import sheet_paths
from ms2img.io.sheet_table import SheetTable, read_table

KINDS = ("sample", "blank", "qc")
FORMATS = ("mgf", "msp", "mzml", "mzxml", "msdial-alignment", "msdial-peaklist")
REQUIRED = ("sample_id", "path")
RESERVED = (*REQUIRED, "quant_path", "column", "format", "kind", "accession", "replicate", "batch")

SIMULATED_COLUMN = "simulated"  # as `ms2img simulate` writes it
MISSING_VALUES = frozenset({"NA", "N/A", "NaN", "nan"})  # as R and pandas write an empty assay cell
# A column name counts as a reserved one misspelt from this difflib ratio and length on (ours), give or take a letter:
# shorter names have honest neighbours ("patch", "kinds"), longer ones honest compounds ("replicate_of").
NEAR, NEAR_LENGTH = 0.85, 8


@dataclass(frozen=True)
class Run:
    """One row of the sheet. `path` and `quant_path` are absolute paths or ``s3://`` addresses.

    `accession` is `sample_id` where none is given.
    """

    sample_id: str
    path: str
    quant_path: str | None
    column: str | None
    format: str | None
    kind: str
    accession: str
    replicate: str | None
    batch: str | None


@dataclass(frozen=True, eq=False)
class Sheet:
    """A sample sheet that was read and found sound.

    `table` has all columns as they stand in the file, its rows in the order of `runs`; cells of a text file are text,
    empty ones missing. `rows` are the rows' numbers in the file, the header being row 1; `digest` is a hash of the
    file's bytes.
    """

    path: str
    runs: tuple[Run, ...]
    table: pd.DataFrame
    rows: tuple[int, ...]
    digest: str

    @classmethod
    def read(cls, path: str | Path, *, allow_outside: bool = False) -> Sheet:
        """Read a sheet from CSV, TSV or Parquet (by its extension; ``.txt`` is either of the first two).

        It may lie in an S3 store, as may the files it names. Relative paths in it start at the sheet's folder. One that
        climbs above that folder is refused unless `allow_outside`; absolute ones and ``s3://`` addresses are taken as
        they are. Whether the files exist is not asked here: a missing file is that run's error.

        Raises `UsageError` with file, row and remedy.
        """
        table = read_table(str(path))
        _require_columns(table)
        runs = [_run(table, index, allow_outside=allow_outside) for index in range(len(table.rows))]
        seen: dict[str, int] = {}
        for run, row in zip(runs, table.rows, strict=True):
            if run.sample_id in seen:
                first = seen[run.sample_id]
                raise UsageError(f"{path}: rows {first} and {row}: both are sample_id '{run.sample_id}'; rename one")
            seen[run.sample_id] = row
        return cls(table.path, tuple(runs), pd.DataFrame(table.columns), table.rows, table.digest)

    def is_simulated(self) -> bool:
        """Whether any row says so; then everything made from the sheet is marked as simulated."""
        if SIMULATED_COLUMN not in self.table:
            return False
        return bool(self.table[SIMULATED_COLUMN].astype(str).str.lower().isin(["true", "1", "yes"]).any())

    def assay(self, name: str) -> np.ndarray:
        """The named column as float64 [n_runs], NaN where the cell is empty or says NA or NaN.

        Raises `UsageError`: no such column (naming the nearest), a column with another meaning, a cell that is not a
        finite number.
        """
        candidates = [str(column) for column in self.table.columns if column not in RESERVED]
        if name in RESERVED:
            known = ", ".join(candidates) or "none"
            raise UsageError(f"{self.path}: '{name}' is no assay: the sheet uses it otherwise; other columns: {known}")
        if name not in candidates:
            near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.0)
            hint = f"did you mean '{near[0]}'?" if near else "the sheet has no column but the reserved ones"
            raise UsageError(f"{self.path}: no column '{name}'; {hint}")
        cells = zip(self.rows, self.table[name], strict=True)
        return np.array([self._assay_value(cell, name, row) for row, cell in cells], dtype=np.float64)

    def _assay_value(self, cell: Any, name: str, row: int) -> float:
        if _text(cell) is None or _text(cell) in MISSING_VALUES:
            return math.nan
        try:
            value = float(cell)
        except (TypeError, ValueError):
            hint = "; write the decimal sign as a point" if re.fullmatch(r"[+-]?\d+,\d+", str(cell)) else ""
            raise UsageError(
                f"{self.path}: row {row}: {name} is '{cell}', expected a number or nothing{hint}"
            ) from None
        if math.isinf(value):
            raise UsageError(f"{self.path}: row {row}: {name} is '{cell}', expected a finite number or nothing")
        return value


def _text(cell: Any) -> str | None:
    """A cell as stripped text; None where it is empty, as text or as Parquet's null."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)) or cell is pd.NaT or cell is pd.NA:
        return None
    return str(cell).strip() or None


def _require_columns(table: SheetTable) -> None:
    """Refuse a sheet without a required column, and one whose column is a reserved name misspelt."""
    for name in table.columns:
        meant = _misspelt(name, table.columns)
        if meant is not None:
            raise UsageError(f"{table.path}: unknown column '{name}'; did you mean '{meant}'? rename it")
    for name in REQUIRED:
        if name not in table.columns:
            near = difflib.get_close_matches(name, [c for c in table.columns if c not in RESERVED], n=1, cutoff=0.5)
            hint = f"; is '{near[0]}' it? rename it" if near else ""
            raise UsageError(f"{table.path}: no column '{name}'{hint} (a sheet needs {' and '.join(REQUIRED)})")


def _misspelt(name: str, columns: Mapping[str, object]) -> str | None:
    """The reserved column that `name` surely means; None for a reserved name itself and for free metadata."""
    if name in RESERVED:
        return None
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for reserved in RESERVED:
        if reserved in columns:
            continue  # what stands beside it is something else, such as "batch2"
        target = reserved.replace("_", "")
        if plain == target:
            return reserved
        is_near = difflib.SequenceMatcher(a=plain, b=target).ratio() >= NEAR
        is_as_long = len(target) >= NEAR_LENGTH and abs(len(plain) - len(target)) <= 1
        if is_near and is_as_long and not plain[-1:].isdigit():
            return reserved
    return None


def _run(table: SheetTable, index: int, *, allow_outside: bool) -> Run:
    where = f"{table.path}: row {table.rows[index]}"
    cell = {name: _text(table.columns[name][index]) if name in table.columns else None for name in RESERVED}

    def required(name: str) -> str:
        value = cell[name]
        if value is None:
            raise UsageError(f"{where}: {name} is empty; every run has one")
        return value

    def located(name: str, value: str) -> str:
        return sheet_paths.located(value, table.path, f"{where}: {name}", allow_outside=allow_outside)

    sample_id, path = required("sample_id"), required("path")
    kind = (cell["kind"] or KINDS[0]).lower()
    for name, value, closed in (("kind", kind, KINDS), ("format", cell["format"], FORMATS)):
        if value is not None and value not in closed:
            raise UsageError(f"{where}: {name} is '{value}', expected one of {', '.join(closed)}, or nothing")
    return Run(
        sample_id=sample_id,
        path=located("path", path),
        quant_path=located("quant_path", cell["quant_path"]) if cell["quant_path"] else None,
        column=cell["column"],
        format=cell["format"],
        kind=kind,
        accession=cell["accession"] or sample_id,
        replicate=cell["replicate"],
        batch=cell["batch"],
    )
