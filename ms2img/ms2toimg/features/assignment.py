"""The rule by which features join: each the best of the entries there are, or it founds one.

The paper states no order, and the outcome depends on one: features come in the order of `table.in_order`, strongest
first, so that it does not depend on the order of files, spectra or workers. An entry is its founder: later members do
not move it. The rule is the same within a sample, across samples, and onto an existing table.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ms2img.ms2toimg.features.similarity import EQUIVALENT, REACH, Spectrum, SpectrumSimilarity, Tolerances, gaussian
from ms2img.ms2toimg.features.table import Floats, Integers, Ions

NONE = -1  # a feature that joined no entry


class Entries:
    """Entries in the order they were founded, and which samples have each."""

    def __init__(self, tolerances: Tolerances, similarity: SpectrumSimilarity) -> None:
        self._tolerances = tolerances
        self._similarity = similarity
        self._spectra: list[Spectrum] = []
        self._members: list[set[int]] = []
        self._count = 0
        self._resize(64)

    def __len__(self) -> int:
        return self._count

    def best(self, mz: float, rt: float, spectrum: Spectrum, sample: int | None) -> int:
        """The most similar entry that is equivalent and that `sample` does not have yet; `NONE` where there is none.

        Of equally similar ones, the one founded first. With `sample` None, an entry takes any number.
        """
        sigma = self._tolerances
        found = _near(
            self._mz,
            self._rt,
            self._count,
            mz,
            rt,
            sigma.mz,
            sigma.rt,
            self._places,
            self._partial,
            self._terms,
        )
        best, best_mean = NONE, EQUIVALENT
        for at in range(found):
            number, partial, terms = int(self._numbers[self._places[at]]), self._partial[at], self._terms[at]
            if (partial + 1.0) / terms < best_mean or (sample is not None and sample in self._members[number]):
                continue
            mean = (partial + self._similarity.compare(self._spectra[number], spectrum)) / terms
            if mean > best_mean or (mean == best_mean and NONE < number < best):
                best, best_mean = number, mean
        return best

    def found(self, mz: float, rt: float, spectrum: Spectrum) -> int:
        """A new entry: its number."""
        if self._count == len(self._mz):
            self._resize(2 * self._count)
        _insert(self._mz, self._rt, self._numbers, self._count, mz, rt)
        self._spectra.append(spectrum)
        self._members.append(set())
        self._count += 1
        return self._count - 1

    def join(self, number: int, sample: int) -> None:
        """Note that a sample has an entry."""
        self._members[number].add(sample)

    def _resize(self, capacity: int) -> None:
        """Room for more: the first three arrays are sorted by m/z, the others are what `_near` answers."""

        def larger(values: np.ndarray | None, kind: type) -> np.ndarray:
            grown: np.ndarray = np.zeros(capacity, kind)
            if values is not None:
                grown[: len(values)] = values
            return grown

        self._mz = larger(getattr(self, "_mz", None), np.float64)
        self._rt = larger(getattr(self, "_rt", None), np.float64)
        self._numbers = larger(getattr(self, "_numbers", None), np.int64)
        self._places = np.zeros(capacity, np.int64)
        self._partial = np.zeros(capacity, np.float64)
        self._terms = np.zeros(capacity, np.float64)


def assign(
    features: Ions, tolerances: Tolerances, similarity: SpectrumSimilarity, samples: Integers | None = None
) -> Integers:
    """Which entry each feature is in: int64 [n], entries numbered as they are founded.

    Parameters
    ----------
    features: in the order in which they join, see `table.in_order`.
    samples: the number of each feature's sample, of which an entry takes one at most; None: no such limit.
    """
    entries = Entries(tolerances, similarity)
    joined = np.empty(len(features.mz), np.int64)
    for row, (mz, rt) in enumerate(zip(features.mz.tolist(), features.rt.tolist(), strict=True)):
        spectrum = similarity.prepare(features.peaks[row])
        sample = None if samples is None else int(samples[row])
        number = entries.best(mz, rt, spectrum, sample)
        if number == NONE:
            number = entries.found(mz, rt, spectrum)
        if sample is not None:
            entries.join(number, sample)
        joined[row] = number
    return joined


@njit
def _near(
    entry_mz: Floats,
    entry_rt: Floats,
    count: int,
    mz: float,
    rt: float,
    sigma_mz: float,
    sigma_rt: float,
    places: Integers,
    partial: Floats,
    terms: Floats,
) -> int:
    """The entries (sorted by m/z) that could be equivalent if their spectra were equal: how many.

    Their places go to `places`, the sum of the MS1 and the retention-time similarity to `partial`, and of how many
    similarities the mean is to `terms`: 3, or 2 where a retention time is absent.
    """
    low = np.searchsorted(entry_mz[:count], mz - REACH * sigma_mz)
    found = 0
    for place in range(low, count):
        difference = entry_mz[place] - mz
        if difference > REACH * sigma_mz:
            break
        both = gaussian(difference, sigma_mz)
        of = 2.0
        apart = entry_rt[place] - rt
        if not math.isnan(apart):
            both += gaussian(apart, sigma_rt)
            of = 3.0
        if (both + 1.0) / of > EQUIVALENT:
            places[found], partial[found], terms[found] = place, both, of
            found += 1
    return found


@njit
def _insert(entry_mz: Floats, entry_rt: Floats, numbers: Integers, count: int, mz: float, rt: float) -> None:
    """Put entry number `count` at its place by m/z."""
    place = np.searchsorted(entry_mz[:count], mz, side="right")
    for at in range(count, place, -1):
        entry_mz[at], entry_rt[at], numbers[at] = entry_mz[at - 1], entry_rt[at - 1], numbers[at - 1]
    entry_mz[place], entry_rt[place], numbers[place] = mz, rt, count
