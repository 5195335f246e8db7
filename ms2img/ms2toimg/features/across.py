"""Merging across samples: equivalent features of different samples become one row of the feature table.

MS2toImg, "Feature Table Construction": the second of its two steps. Features whose m/z differ by more than the window
of `Tolerances` are never equivalent, so wherever the sorted m/z of all samples leave a gap that wide, both sides are
merged by themselves: the outcome is that of merging all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.ms2toimg.features.assignment import assign
from ms2img.ms2toimg.features.similarity import SpectrumSimilarity, Tolerances
from ms2img.ms2toimg.features.table import Floats, Integers, Ions, in_order

_ROW_ORDER = [
    ("precursor_mz", "ascending"),
    ("rt_seconds", "ascending"),
    ("height", "descending"),
    ("sample_id", "ascending"),
    ("spectrum_id", "ascending"),
]


@dataclass(frozen=True, eq=False)
class Merged:
    """Rows of the feature table and who has them, as a sparse matrix.

    `founders`: schema `SAMPLE_FEATURES`, one row a feature, by rising m/z, then retention time.
    `feature`, `sample`: int64 [n_members], the place in `founders` and the sample's number; `height`: float64.
    """

    founders: pa.Table
    feature: Integers
    sample: Integers
    height: Floats


def merge_across(
    features: pa.Table, sample_ids: Sequence[str], tolerances: Tolerances, similarity: SpectrumSimilarity
) -> Merged:
    """Merge the features of all samples (schema `SAMPLE_FEATURES`, in any order), at most one a sample an entry.

    `sample_ids` gives each sample its number. A sample's heights are not changed: every feature is a member once.
    """
    ordered = in_order(features)
    sample = pc.index_in(ordered["sample_id"], pa.array(sample_ids, pa.string())).to_numpy().astype(np.int64)
    entry = assign(Ions.of(ordered), tolerances, similarity, sample)
    founders = ordered.take(pa.array(np.unique(entry, return_index=True)[1]))
    by_mz = pc.sort_indices(founders, sort_keys=_ROW_ORDER).to_numpy()
    place = np.empty(len(by_mz), np.int64)
    place[by_mz] = np.arange(len(by_mz))
    return Merged(
        founders=founders.take(pa.array(by_mz)).combine_chunks(),
        feature=place[entry],
        sample=sample,
        height=ordered["height"].to_numpy(),
    )


def partitions(mz: Floats, window: float, at_least: int) -> list[tuple[float, float]]:
    """Ranges of m/z, both ends included, that are merged by themselves; together they hold all of `mz` (any order).

    Each is cut at a gap wider than `window` (Da) and holds `at_least` features, but the last; fewer gaps, fewer ranges.
    """
    ordered = np.sort(mz)
    ranges: list[tuple[float, float]] = []
    first = 0
    for gap in np.flatnonzero(np.diff(ordered) > window).tolist():
        if gap + 1 - first >= at_least:
            ranges.append((float(ordered[first]), float(ordered[gap])))
            first = gap + 1
    if first < len(ordered):
        ranges.append((float(ordered[first]), float(ordered[-1])))
    return ranges


def feature_names(precursor_mz: Floats, rt_seconds: Floats) -> list[str]:
    """A name a feature: ``M301.1412T245.3``, its m/z and retention time (s); equal ones are told apart by ``_2``, ...

    A feature keeps its name when samples are added, as long as it keeps its founder.
    """
    seen: dict[str, int] = {}
    names = []
    for mz, rt in zip(precursor_mz.tolist(), rt_seconds.tolist(), strict=True):
        name = f"M{mz:.4f}" if rt != rt else f"M{mz:.4f}T{rt:.1f}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names
