"""Assay values into a sample sheet: one column more, by accession, for ``ms2img train --assay``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ms2img.errors import UsageError
from ms2img.io import sheet_paths
from ms2img.io.location import absolute, parent
from ms2img.io.sheet import MISSING_VALUES, RESERVED, Sheet

SHOWN = 5  # names in a message (ours)


@dataclass(frozen=True)
class Joined:
    """A sheet with the column: its text as CSV, and which accessions have no value, and which values no accession."""

    text: str
    n_runs: int
    without_value: tuple[str, ...]
    without_run: tuple[str, ...]


def join_values(sheet: Sheet, values: Mapping[str, float], name: str, *, out: str) -> Joined:
    """The sheet with a column `name`: the value of each run's accession where the run is a sample, else empty.

    An empty column of that name, as ``ms2img sheet`` drafts it, is filled. Paths are written as seen from `out`.

    Raises `UsageError`: a name with another meaning, a column that has values already, no accession in common.
    """
    if name in RESERVED:
        raise UsageError(f"{sheet.path}: '{name}' has another meaning in a sheet; give --name another")
    if name in sheet.table and not all(_is_empty(cell) for cell in sheet.table[name]):
        raise UsageError(f"{sheet.path}: has a column '{name}' with values already; give --name another")
    accessions = {run.accession for run in sheet.runs if run.kind == "sample"}
    common = accessions & set(values)
    if not common:
        raise UsageError(
            f"{sheet.path}: none of its accessions ({named(sorted(accessions))}) is one of the plates "
            f"({named(sorted(values))}); both must be written alike"
        )
    table = sheet.table.astype(object)
    table[name] = [
        f"{values[run.accession]:.6g}" if run.kind == "sample" and run.accession in common else None
        for run in sheet.runs
    ]
    if parent(absolute(sheet.path)) != parent(absolute(out)):
        table["path"] = [sheet_paths.written(run.path, absolute(out)) for run in sheet.runs]
        if "quant_path" in table:
            table["quant_path"] = [
                run.quant_path and sheet_paths.written(run.quant_path, absolute(out)) for run in sheet.runs
            ]
    return Joined(
        text=table.to_csv(index=False, lineterminator="\n"),
        n_runs=sum(run.kind == "sample" and run.accession in common for run in sheet.runs),
        without_value=tuple(sorted(accessions - common)),
        without_run=tuple(sorted(set(values) - common)),
    )


def named(names: list[str] | tuple[str, ...]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _is_empty(cell: object) -> bool:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return str(cell).strip() in {"", *MISSING_VALUES}
