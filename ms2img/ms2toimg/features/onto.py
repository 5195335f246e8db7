"""Placing samples of another sheet onto the features of an existing table: new samples, or the same measured anew.

The rule is that of merging across samples, except that no entry is founded: what joins none is dropped and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ms2img.errors import UsageError
from ms2img.io.dataset.features import FeatureTable
from ms2img.io.read_config import ReadOptions
from ms2img.ms2toimg.features.assignment import NONE, Entries
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.extract import extract
from ms2img.ms2toimg.features.similarity import SpectrumSimilarity, Tolerances, comparison
from ms2img.ms2toimg.features.table import Floats, Integers, Ions, Peaks, in_order
from ms2img.ms2toimg.features.within import merge_within

ALIGNED = "aligned"
#: Options that decide what is a feature and when two are one: a table and what is placed onto it have them in common.
COMMON = tuple(name for name in FeatureOptions.model_fields if name not in ReadOptions.model_fields)


@dataclass(frozen=True, eq=False)
class Placed:
    """The features of one sample that have a place in the table: `feature` int64 [n], its column; `height` float64 [n].

    `n_unmatched` features of the sample have none.
    """

    feature: Integers
    height: Floats
    n_unmatched: int


class Target:
    """The features of a table, ready to be joined by those of any number of samples, one after the other."""

    def __init__(self, table: FeatureTable, tolerances: Tolerances, similarity: SpectrumSimilarity) -> None:
        """A feature of an aligned table that has no MS/MS cannot be joined."""
        self.n_features = len(table.feature_ids)
        self._similarity = similarity
        self._entries = Entries(tolerances, similarity)
        self._column: list[int] = []  # of each entry
        self._n_placed = 0  # samples so far: the number of the next
        for column, peaks in enumerate(Peaks.of(table.spectra)):
            spectrum = similarity.prepare(peaks)
            if len(spectrum):
                self._entries.found(float(table.precursor_mz[column]), float(table.rt_seconds[column]), spectrum)
                self._column.append(column)

    def place(self, features: pa.Table) -> Placed:
        """Place the merged features of one sample (schema `SAMPLE_FEATURES`), at most one a feature of the table."""
        ordered = in_order(features)
        ions = Ions.of(ordered)
        taken = np.full(len(ions.mz), NONE)
        sample = self._n_placed
        self._n_placed += 1
        for row, (mz, rt) in enumerate(zip(ions.mz.tolist(), ions.rt.tolist(), strict=True)):
            entry = self._entries.best(mz, rt, self._similarity.prepare(ions.peaks[row]), sample)
            if entry != NONE:
                self._entries.join(entry, sample)
                taken[row] = self._column[entry]
        is_placed = taken != NONE
        return Placed(taken[is_placed], ordered["height"].to_numpy()[is_placed], int(np.count_nonzero(~is_placed)))


def match_onto(table: FeatureTable, spectra: pa.Table, *, path: str, options: FeatureOptions | None = None) -> Floats:
    """The row that one run would have in an existing table: heights, float64 [f], 0 where it lacks the feature.

    Parameters
    ----------
    table: of `load_features`.
    spectra: the run's rows, schema `ms2img.io.schema.SPECTRA`.
    path: the run's file, for messages.
    options: how to compare with an aligned table, which does not say; a merged one does, see `options_of`.

    For many runs, make one `Target` and place each.

    Raises `RunError` as `extract`, `UsageError` as `options_of`.
    """
    chosen = options_of(table, options)
    tolerances, similarity = comparison(chosen)
    features = merge_within(extract(spectra, chosen, path=path)[0], tolerances, similarity)
    placed = Target(table, tolerances, similarity).place(features)
    row = np.zeros(len(table.feature_ids))
    row[placed.feature] = placed.height
    return row


def options_of(table: FeatureTable, given: FeatureOptions | None) -> FeatureOptions:
    """How samples are read and compared with a table's features: as it was made, but for what is set in `given`.

    How files are read (`ReadOptions`) may be set otherwise, as the new files need it; the other options (`COMMON`) may
    not. Of a table that was aligned elsewhere, all is as `given`. Its sigma of m/z is a number; the paper's is that of
    the table's own study.

    Raises `UsageError` where `given` sets one of `COMMON` to another value, for an aligned table without `given`, and
    for `given` with a sigma that the table cannot tell.
    """
    if table.about["similarity"] != ALIGNED:
        return _as_made(table, given or FeatureOptions())
    if given is None:
        raise UsageError("the feature table was aligned elsewhere and does not say how its features are compared")
    if given.sigma_mz_da is None:
        raise UsageError("sigma_mz 'paper' belongs to the study a table was made of; give a number of Da")
    return given


def _as_made(table: FeatureTable, given: FeatureOptions) -> FeatureOptions:
    made = {name: table.about["config"][name] for name in FeatureOptions.model_fields}
    sigma = table.about["sigma_mz_da"]
    for name in COMMON:
        value = getattr(given, name)
        is_same = value == made[name] or (name == "sigma_mz" and given.sigma_mz_da == sigma)
        if name in given.model_fields_set and not is_same:
            raise UsageError(
                f"the feature table was made with {name}={made[name]}, and samples are placed onto it the same way; "
                f"leave out {name}={value}"
            )
    reading = given.model_dump(include=set(ReadOptions.model_fields), exclude_unset=True)
    return FeatureOptions.checked({**made, "sigma_mz": repr(sigma), **reading}, source="the feature table")
