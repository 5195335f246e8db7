"""A feature table that others have aligned: its features and heights as they are, no merging.

Such a table is an MS-DIAL alignment export, or mzmine's table beside the MGF of its features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError
from ms2img.io.formats.aligned import AlignedTable
from ms2img.io.formats.msdial_alignment import read_alignment
from ms2img.io.formats.quant import read_pair
from ms2img.io.sheet import Run

_ORDER = [("precursor_mz", "ascending"), ("rt_seconds", "ascending"), ("spectrum_id", "ascending")]


@dataclass(frozen=True, eq=False)
class AlignedFeatures:
    """An aligned table.

    `features`: by rising m/z, then retention time; schema `ms2img.io.formats.spectra.UNNAMED`, some without MS/MS.
    `heights`: sample_id -> float64 [f], 0 where the cell is empty. `refused`: samples whose column cannot be used.
    """

    features: pa.Table
    heights: Mapping[str, np.ndarray]
    refused: Mapping[str, RunError]


def is_aligned(runs: Sequence[Run]) -> bool:
    """Whether all of these runs are columns of one table."""
    return all(run.column is not None for run in runs) and len({(run.path, run.quant_path) for run in runs}) == 1


def read_aligned(runs: Sequence[Run]) -> AlignedFeatures:
    """Read the table whose columns these runs are. Raises `RunError` for what is wrong with a whole file."""
    path, quant_path = runs[0].path, runs[0].quant_path
    columns = [run.column for run in runs if run.column is not None]
    table = read_pair(path, quant_path, columns) if quant_path else read_alignment(path, columns)
    order = pc.sort_indices(table.features, sort_keys=_ORDER)
    heights: dict[str, np.ndarray] = {}
    refused: dict[str, RunError] = {}
    for run, column in zip(runs, columns, strict=True):
        try:
            heights[run.sample_id] = _heights(table, column, quant_path or path)[order.to_numpy()]
        except RunError as error:
            refused[run.sample_id] = error
    return AlignedFeatures(table.features.take(order).combine_chunks(), heights, refused)


def _heights(table: AlignedTable, column: str, path: str) -> np.ndarray:
    if column in table.refused:
        raise table.refused[column]
    heights: np.ndarray = np.nan_to_num(table.heights[column], nan=0.0)
    if not heights.any():
        raise RunError(Code.NO_MSMS, f"no feature has a height above 0 in column '{column}'", path=path)
    return heights
