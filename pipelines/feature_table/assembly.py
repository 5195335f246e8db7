"""From what the tasks answer to ``features.parquet``: rows by rising m/z, heights dense a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ms2img.io.dataset.features import FEATURE, FeatureTable, encode_features, features_schema
from ms2img.ms2toimg.features.across import Merged, feature_names
from ms2img.ms2toimg.features.onto import Placed
from ms2img.ms2toimg.features.table import Floats, Integers

SLICE_BYTES = 32 * 2**20  # of dense heights in memory at a time, a row group (ours)


@dataclass(frozen=True, eq=False)
class Sparse:
    """Heights as triples: feature (row of the table), sample (its place in `sample_ids`) and height, in any order."""

    sample_ids: tuple[str, ...]  # sorted
    feature: Integers
    sample: Integers
    height: Floats


def of_merged(parts: Sequence[Merged], sample_ids: Sequence[str]) -> tuple[pa.Table, Sparse]:
    """The rows (schema `FEATURE`) and heights of ranges of m/z that rise from one to the next.

    `sample_ids`: those that gave the samples of the parts their numbers.
    """
    founders = pa.concat_tables([part.founders for part in parts])
    starts = np.cumsum([0, *(len(part.founders) for part in parts)])
    names = feature_names(founders["precursor_mz"].to_numpy(), founders["rt_seconds"].to_numpy())
    rows = founders.select(FEATURE.names[1:]).add_column(0, "feature_id", pa.array(names)).cast(FEATURE)
    sparse = Sparse(
        tuple(sample_ids),
        np.concatenate([part.feature + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.sample for part in parts]),
        np.concatenate([part.height for part in parts]),
    )
    return rows, sparse


def of_placed(table: FeatureTable, placed: Mapping[str, Placed]) -> tuple[pa.Table, Sparse]:
    """The rows of an existing table, with the heights of the samples that were placed onto it."""
    sample_ids = tuple(sorted(placed))
    found = [placed[sample] for sample in sample_ids]
    sparse = Sparse(
        sample_ids,
        np.concatenate([each.feature for each in found]),
        np.repeat(np.arange(len(found)), [len(each.feature) for each in found]),
        np.concatenate([each.height for each in found]),
    )
    return rows_of(table), sparse


def rows_of(table: FeatureTable) -> pa.Table:
    """What a table says of its features, schema `FEATURE`."""
    rt = pa.array(table.rt_seconds, from_pandas=True)  # NaN is null there
    columns = [pa.array(table.feature_ids), pa.array(table.precursor_mz), rt, *table.spectra.columns]
    return pa.Table.from_arrays(columns, names=FEATURE.names).cast(FEATURE)


def encode(rows: pa.Table, heights: Sparse) -> pa.Buffer:
    """``features.parquet``: a row a feature in the order given, a column a sample, 0 where it lacks the feature."""
    return encode_features(_slices(rows, heights), heights.sample_ids)


def _slices(rows: pa.Table, heights: Sparse) -> Iterator[pa.Table]:
    sample_ids = heights.sample_ids
    schema = features_schema(sample_ids)
    by_feature = np.argsort(heights.feature, kind="stable")
    feature, sample, height = (column[by_feature] for column in (heights.feature, heights.sample, heights.height))
    n_rows = max(1, SLICE_BYTES // (8 * max(1, len(sample_ids))))
    for start in range(0, rows.num_rows, n_rows):
        part = rows.slice(start, n_rows)
        own = slice(*np.searchsorted(feature, [start, start + part.num_rows]))
        dense = np.zeros((len(sample_ids), part.num_rows))
        dense[sample[own], feature[own] - start] = height[own]
        yield pa.Table.from_arrays([*part.columns, *(pa.array(column) for column in dense)], schema=schema)
