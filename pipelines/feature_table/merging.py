"""The last tasks of ``ms2img features``: a range of m/z of all samples merged, or some samples placed onto a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.io.dataset.features import FeatureTable
from ms2img.io.storage import folder
from ms2img.ms2toimg.features.across import Merged, merge_across, partitions
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.onto import Placed, Target
from ms2img.ms2toimg.features.similarity import Tolerances, comparison
from ms2img.ms2toimg.features.table import Floats
from pipelines.feature_table.staged import StagedFeatures, staged_rows

#: A range ends at the first gap after so many features (ours): few enough that cores share the work, enough that
#: Ray's part is nothing. No bound on a range: without a gap it goes on, in one worker, at some 0.7 kB a feature.
FEWEST_TO_CUT, ENOUGH_TO_CUT = 5_000, 200_000
RANGES_PER_CORE = 4  # (ours) cores end together


@dataclass(frozen=True)
class Range:
    """A range of m/z, both ends included, and how many features are in it."""

    mz: tuple[float, float]
    n_features: int


def ranges(mz: Floats, tolerances: Tolerances, cores: int) -> list[Range]:
    """Ranges that are merged by themselves, see `partitions`; the largest first."""
    at_least = min(ENOUGH_TO_CUT, max(FEWEST_TO_CUT, len(mz) // (RANGES_PER_CORE * cores)))
    ordered = np.sort(mz)
    found = [
        Range((low, high), int(np.searchsorted(ordered, high, "right") - np.searchsorted(ordered, low)))
        for low, high in partitions(ordered, tolerances.window, at_least)
    ]
    return sorted(found, key=lambda each: -each.n_features)


def merge_range(
    part: Range, out: str, wanted: Mapping[str, Sequence[str]], sample_ids: Sequence[str], options: FeatureOptions
) -> tuple[Range, Merged]:
    """Merge one range of m/z of all samples. `wanted`: the samples to take from each staged file.

    `options` has a number as sigma of m/z. Top-level and free of Ray. Raises `JobError`.
    """
    store = folder(out)
    rows = pa.concat_tables([staged_rows(store, name, samples, part.mz) for name, samples in wanted.items()])
    return part, merge_across(rows, sample_ids, *comparison(options))


def place_samples(
    work: tuple[StagedFeatures, Sequence[str]], out: str, table: FeatureTable, options: FeatureOptions
) -> dict[str, Placed]:
    """Place these samples of a staged file onto a table. Top-level and free of Ray. Raises `JobError`."""
    staged, samples = work
    rows = staged_rows(folder(out), staged.name, samples)
    target = Target(table, *comparison(options))
    return {sample: target.place(rows.filter(pc.equal(rows["sample_id"], sample))) for sample in samples}
