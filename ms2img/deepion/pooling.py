"""Peaks of many spectra to m/z bins, and bins to ion images ("peak alignment, peak pooling": DeepION, section 2.2).

The paper's own scripts are not published; this is ours. All spectra together say where the bins are: peaks are counted
in cells of a fraction of the tolerance, a bin is a peak of that count, and a spectrum's peak belongs to the nearest bin
within the tolerance. Counts of any shares of the spectra add up, in whole numbers, and a pixel's peaks are summed in
the order of m/z: however the spectra and the m/z range are cut up among workers, the images are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ms2img.deepion.peaks import Peaks

CELLS = 8  # a tolerance (ours): what a bin's centre is off by is a tenth of the tolerance at most


@dataclass(frozen=True, eq=False)
class CellCounts:
    """How many peaks lie in each cell that has any: `cells` int64 [n], ascending; `counts` int64 [n]."""

    cells: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Bins:
    """m/z bins, ascending and disjoint: from cell `lowest` to cell `highest` (int64 [n]), with `counts` peaks each."""

    lowest: np.ndarray
    highest: np.ndarray
    counts: np.ndarray
    ppm: float

    def __len__(self) -> int:
        return len(self.lowest)

    def __getitem__(self, window: slice) -> Bins:
        return Bins(self.lowest[window], self.highest[window], self.counts[window], self.ppm)

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest m/z that the bins may hold; a cell more on each side, for borders are rounded."""
        if not len(self):
            return np.inf, np.inf
        width = cell_width(self.ppm)
        return float(np.exp((self.lowest[0] - 1) * width)), float(np.exp((self.highest[-1] + 2) * width))

    @property
    def middle(self) -> np.ndarray:
        """The m/z, float64 [n], in the middle of each bin."""
        return np.exp((self.lowest + self.highest + 1) / 2 * cell_width(self.ppm))


@dataclass(frozen=True, eq=False)
class Pooled:
    """Some bins over all spectra: `mz` float64 [b], mean of each bin's peaks by weight; `intensity` float64 [b, n]."""

    mz: np.ndarray
    intensity: np.ndarray


def cell_width(ppm: float) -> float:
    """The width of a cell on the scale of log m/z, where a tolerance in ppm is the same everywhere."""
    return float(np.log1p(ppm * 1e-6)) / CELLS


def cells_of(mz: np.ndarray, ppm: float) -> np.ndarray:
    """The cell, int64 [n], of each m/z [n]."""
    return np.floor(np.log(mz) / cell_width(ppm)).astype(np.int64)


def count_cells(mz: np.ndarray, ppm: float) -> CellCounts:
    """The peaks [n] of some spectra, counted."""
    return CellCounts(*np.unique(cells_of(mz, ppm), return_counts=True))


def merge_counts(counted: Iterable[CellCounts]) -> CellCounts:
    """The counts of several shares of the spectra together, in whatever order."""
    shares = list(counted)
    cells = np.concatenate([each.cells for each in shares])
    order = np.argsort(cells, kind="stable")  # merges what is in order already
    cells, counts = cells[order], np.concatenate([each.counts for each in shares])[order]
    first = np.flatnonzero(np.diff(cells, prepend=cells[:1] - 1))
    return CellCounts(cells[first], np.add.reduceat(counts, first) if len(first) else counts)


def choose_bins(counted: CellCounts, *, ppm: float, min_count: int) -> Bins:
    """The bins of a data set: at least `min_count` peaks within `ppm` of a peak of the counts.

    The counts are smoothed with a triangle of half the width of `CELLS` + 1. A centre is a local maximum of that (of
    equals the lowest), and has no higher one within the tolerance. A cell belongs to the nearest centre within the
    tolerance (the lower of two as near).
    """
    cells = counted.cells
    scores = _smooth(counted, cells)
    is_top = (scores > _smooth(counted, cells - 1)) & (scores >= _smooth(counted, cells + 1))
    # What does not hold enough peaks itself is no bin, and must not take any from its neighbours.
    is_top &= _between(counted, cells - CELLS, cells + CELLS) >= min_count
    centres = _apart(cells[is_top], scores[is_top])
    lowest, highest = centres - CELLS, centres + CELLS
    border = (centres[:-1] + centres[1:]) // 2
    highest[:-1] = np.minimum(highest[:-1], border)
    lowest[1:] = np.maximum(lowest[1:], border + 1)
    held = _between(counted, lowest, highest)
    kept = held >= max(1, min_count)
    return Bins(lowest[kept], highest[kept], held[kept], ppm)


def bin_of(mz: np.ndarray, bins: Bins) -> np.ndarray:
    """The number of the bin, int64 [n], that each m/z [n] lies in; -1 for none."""
    if not len(bins):
        return np.full(len(mz), -1, dtype=np.int64)
    cells = cells_of(mz, bins.ppm)
    number = np.searchsorted(bins.lowest, cells, "right") - 1
    return np.where((number >= 0) & (cells <= bins.highest[number]), number, -1)


def in_bins(peaks: Peaks, bins: Bins) -> Peaks:
    """Those peaks that lie in some bin, a copy."""
    inside = bin_of(peaks.mz, bins) >= 0
    return Peaks(peaks.mz[inside], peaks.intensity[inside], peaks.pixel[inside])


def pool(shares: Iterable[Peaks], bins: Bins, n_spectra: int) -> Pooled:
    """The summed intensity of every bin in every spectrum, from the peaks of all shares.

    A spectrum's peaks lie in one share; the order of the shares does not matter. Memory: 16 bytes a bin and spectrum.
    """
    total = np.zeros(len(bins) * n_spectra)
    moment = np.zeros(len(bins) * n_spectra)
    middle = bins.middle
    for share in shares:
        peaks = share.between(*bins.span)
        number = bin_of(peaks.mz, bins)
        inside = number >= 0
        number, mz, weight = number[inside], peaks.mz[inside], peaks.intensity[inside].astype(np.float64)
        place = number * n_spectra + peaks.pixel[inside]
        np.add.at(total, place, weight)
        np.add.at(moment, place, weight * (mz - middle[number]))
    intensity = total.reshape(len(bins), n_spectra)
    weight = intensity.sum(axis=1)
    shift = np.divide(
        moment.reshape(len(bins), n_spectra).sum(axis=1), weight, out=np.zeros_like(weight), where=weight > 0
    )
    return Pooled(middle + shift, intensity)


def ranges_of(lengths: np.ndarray, most: int) -> list[range]:
    """Consecutive spectra, cut so that each range has at most `most` points together, or one spectrum.

    lengths: int64 [n], points of each spectrum.
    """
    found, start, held = [], 0, 0
    for number, length in enumerate(lengths.tolist()):
        if number > start and held + length > most:
            found.append(range(start, number))
            start, held = number, 0
        held += length
    return [*found, range(start, len(lengths))] if len(lengths) else []


def windows_of(n_bins: int, n_spectra: int, most: int) -> list[slice]:
    """Consecutive bins, cut so that each window has at most `most` values (bins x spectra), or one bin."""
    step = max(1, most // max(1, n_spectra))
    return [slice(start, min(start + step, n_bins)) for start in range(0, n_bins, step)]


def _between(counted: CellCounts, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """The peaks in cells from `lowest` to `highest`, both included."""
    held = np.concatenate(([0], np.cumsum(counted.counts)))
    cells = counted.cells
    return held[np.searchsorted(cells, highest, "right")] - held[np.searchsorted(cells, lowest, "left")]


def _smooth(counted: CellCounts, at: np.ndarray) -> np.ndarray:
    """The sum over d of (CELLS + 1 - |d|) x peaks in cell at + d, int64 [n], by running sums of 1 and of the cell."""
    held = np.concatenate(([0], np.cumsum(counted.counts)))
    weighed = np.concatenate(([0], np.cumsum(counted.counts * counted.cells)))
    left, here, right = (np.searchsorted(counted.cells, at + d, "right") for d in (-CELLS - 1, 0, CELLS + 1))
    rising = (CELLS + 1 - at) * (held[here] - held[left]) + (weighed[here] - weighed[left])
    falling = (CELLS + 1 + at) * (held[right] - held[here]) - (weighed[right] - weighed[here])
    return rising + falling


def _apart(cells: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The cells (ascending) left when the highest score, of equals the lowest, takes all within `CELLS`, and so on."""
    first = np.searchsorted(cells, cells - CELLS, "left").tolist()
    last = np.searchsorted(cells, cells + CELLS, "right").tolist()
    kept, taken = [], np.zeros(len(cells), dtype=bool)
    for place in np.argsort(-scores, kind="stable").tolist():
        if not taken[place]:
            taken[first[place] : last[place]] = True
            kept.append(place)
    return cells[np.sort(np.array(kept, dtype=np.int64))]
