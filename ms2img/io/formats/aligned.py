"""A table in which one file describes many runs: features with one MS/MS each, and a height per feature and run."""

from __future__ import annotations

import difflib
import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats.cells import NULL_CELLS, decimal_hint

# Names like a missing column's are looked up (one costs a comparison with every run) for so many columns, among so many
# runs (ours): a sheet in which all of 10,000 are wrong is refused in a moment all the same.
HINTED_COLUMNS, HINTED_RUNS = 10, 20_000


@dataclass(frozen=True)
class AlignedTable:
    """Features x runs, held for the requested columns only.

    `features`: one row a feature, schema `ms2img.io.formats.spectra.UNNAMED`, without precursor intensities.
    `heights`: column name -> float64 [n_features], NaN where the cell is empty.
    `refused`: columns that cannot be read, each with its own error: one bad column does not cost the others.
    """

    features: pa.Table
    heights: Mapping[str, np.ndarray]
    refused: Mapping[str, RunError]
    ms2_source: str

    def spectra(self, column: str, *, path: str) -> pa.Table:
        """The features that the run of `column` has: height > 0, which becomes their precursor intensity.

        Raises `RunError`: the column's own refusal, or NO_MSMS if no height is above 0.
        """
        if column in self.refused:
            raise self.refused[column]
        height = self.heights[column]
        own = np.flatnonzero(height > 0)
        if not len(own):
            raise RunError(Code.NO_MSMS, f"no feature has a height above 0 in column '{column}'", path=path)
        rows = self.features.take(pa.array(own))
        place = rows.schema.get_field_index("precursor_intensity")
        return rows.set_column(place, rows.schema.field(place), pa.array(height[own])).combine_chunks()


class HeightColumns:
    """The requested height columns of a table while its rows stream by."""

    def __init__(self, path: str, header: Sequence[str], runs: Mapping[str, int], wanted: Iterable[str]) -> None:
        """`runs`: every run column -> its index in `header`; `wanted`: those to keep."""
        self._path = path
        self.refused: dict[str, RunError] = {}
        self._places: dict[str, int] = {}
        others = frozenset(header)
        for column in dict.fromkeys(wanted):
            if column in runs:
                self._places[column] = runs[column]
            else:
                is_hinted = len(self.refused) < HINTED_COLUMNS and len(runs) <= HINTED_RUNS
                near = difflib.get_close_matches(column, runs, n=3, cutoff=0.5) if is_hinted else []
                self.refused[column] = _no_column(path, column, runs, near, is_elsewhere=column in others)
        self._values = {column: array("d") for column in self._places}

    @property
    def places(self) -> Collection[int]:
        """The kept columns' indices in the header."""
        return self._places.values()

    def append(self, cells: Sequence[str], line: int) -> None:
        """Take the heights of one feature; a cell that is no height refuses its column."""
        for column, place in self._places.items():
            text = cells[place].strip()
            height = _height(text)
            if height is None:
                message = (
                    f"column '{column}': '{text[:40]}' is no height: expected a finite number, not negative"
                    f"{decimal_hint(text)}"
                )
                error = RunError(Code.BAD_VALUE, message, path=self._path, position=f"line {line}")
                self.refused.setdefault(column, error)
            self._values[column].append(math.nan if height is None else height)

    def finish(self, features: pa.Table, *, ms2_source: str) -> AlignedTable:
        """The streamed columns beside their features."""
        heights = {column: np.frombuffer(values) for column, values in self._values.items()}
        return AlignedTable(features=features, heights=heights, refused=self.refused, ms2_source=ms2_source)


def _height(text: str) -> float | None:
    if text in NULL_CELLS:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _no_column(path: str, column: str, runs: Mapping[str, int], near: Sequence[str], *, is_elsewhere: bool) -> RunError:
    names = ", ".join(f"'{name}'" for name in near or list(islice(runs, 3)))
    what = "is not a run's column" if is_elsewhere else "does not exist"
    message = f"column '{column}' {what}; the sheet's `column` should name one of {len(runs)} runs, nearest: {names}"
    return RunError(Code.NO_COLUMN, message, path=path)
