"""Pooling against a literal, one-peak-at-a-time reading of its rules; the same images however the work is cut up."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.deepion.peaks import Peaks
from ms2img.deepion.pooling import (
    CELLS,
    Bins,
    CellCounts,
    bin_of,
    cells_of,
    choose_bins,
    count_cells,
    merge_counts,
    pool,
    ranges_of,
    windows_of,
)

few = settings(deadline=None, max_examples=30)  # no test is timed

PPM = 10.0
#: Cells in a span so narrow that bins touch and compete.
crowded = st.lists(st.integers(500_000, 500_080), min_size=1, max_size=120)


def brute_bins(cells: list[int], min_count: int) -> list[tuple[int, int, int]]:
    """The docstring of `choose_bins`, word by word: (lowest, highest, peaks)."""
    counts = Counter(cells)

    def score(at: int) -> int:
        return sum(max(0, CELLS + 1 - abs(cell - at)) * n for cell, n in counts.items())

    def held(low: int, high: int) -> int:
        return sum(n for cell, n in counts.items() if low <= cell <= high)

    tops = [
        cell
        for cell in counts
        if score(cell) > score(cell - 1)
        and score(cell) >= score(cell + 1)
        and held(cell - CELLS, cell + CELLS) >= min_count
    ]
    centres: list[int] = []
    for cell in sorted(tops, key=lambda cell: (-score(cell), cell)):
        if all(abs(cell - other) > CELLS for other in centres):
            centres.append(cell)
    owners: dict[int, list[int]] = {centre: [] for centre in centres}
    for cell in range(min(cells) - 2 * CELLS, max(cells) + 2 * CELLS):
        near = [centre for centre in centres if abs(centre - cell) <= CELLS]
        if near:
            owners[min(near, key=lambda centre: (abs(centre - cell), centre))].append(cell)
    bins = [(owned[0], owned[-1], held(owned[0], owned[-1])) for _, owned in sorted(owners.items())]
    return [each for each in bins if each[2] >= max(1, min_count)]


def counted(cells: list[int]) -> CellCounts:
    return CellCounts(*np.unique(np.array(cells, dtype=np.int64), return_counts=True))


def shares_of(mz: np.ndarray, intensity: np.ndarray, pixel: np.ndarray, cuts: list[int]) -> list[Peaks]:
    """Peaks of whole spectra, in shares that end at the pixels `cuts`."""
    found = []
    for low, high in pairwise([0, *sorted(cuts), int(pixel.max()) + 1]):
        rows = np.flatnonzero((pixel >= low) & (pixel < high))
        rows = rows[np.argsort(mz[rows], kind="stable")]
        found.append(Peaks(mz[rows], intensity[rows], pixel[rows]))
    return found


def simulated(seed: int, n_ions: int = 30, n_pixels: int = 50) -> tuple[np.ndarray, ...]:
    """SIMULATED peaks: ions 40 ppm or more apart, in most pixels, each m/z off by 2 ppm; and the ions' m/z."""
    random = np.random.default_rng(seed)
    true = 300 * np.exp(np.cumsum(random.uniform(40e-6, 400e-6, n_ions)))
    ion, pixel = np.nonzero(random.random((n_ions, n_pixels)) < 0.8)
    mz = true[ion] * (1 + random.normal(0, 2e-6, len(ion)))
    return mz, random.gamma(2, 50, len(ion)).astype(np.float32), pixel.astype(np.int32), ion, true


@few
@given(crowded, st.integers(0, 12))
def test_bins_are_those_of_the_rules_word_by_word(cells: list[int], min_count: int) -> None:
    bins = choose_bins(counted(cells), ppm=PPM, min_count=min_count)
    found = list(zip(bins.lowest.tolist(), bins.highest.tolist(), bins.counts.tolist(), strict=True))
    assert found == brute_bins(cells, min_count)


@few
@given(crowded, st.integers(0, 5))
def test_bins_are_apart_and_no_wider_than_the_tolerance(cells: list[int], min_count: int) -> None:
    bins = choose_bins(counted(cells), ppm=PPM, min_count=min_count)
    assert (bins.highest[:-1] < bins.lowest[1:]).all()
    assert (bins.highest - bins.lowest <= 2 * CELLS).all()
    assert (bins.counts >= min_count).all()


@few
@given(st.lists(crowded, min_size=1, max_size=5), st.randoms())
def test_counts_of_shares_add_up_in_any_order(shares: list[list[int]], random: object) -> None:
    whole = counted([cell for share in shares for cell in share])
    random.shuffle(shares)  # type: ignore[attr-defined]
    merged = merge_counts(counted(share) for share in shares)
    np.testing.assert_array_equal(merged.cells, whole.cells)
    np.testing.assert_array_equal(merged.counts, whole.counts)


@pytest.mark.parametrize("mz", [50.0, 300.0, 5000.0])
def test_cells_are_a_fraction_of_the_tolerance(mz: float) -> None:
    steps = np.arange(-40, 41)
    cells = cells_of(mz * (1 + PPM * 1e-6) ** (steps / CELLS), PPM)
    assert set(np.diff(cells).tolist()) <= {0, 1, 2}
    assert cells[-1] - cells[0] == pytest.approx(80, abs=1)


def test_every_simulated_ion_is_one_bin_at_its_mz() -> None:
    mz, intensity, pixel, ion, true = simulated(0)
    bins = choose_bins(count_cells(mz, PPM), ppm=PPM, min_count=10)
    assert len(bins) == len(true)
    pooled = pool(shares_of(mz, intensity, pixel, []), bins, 50)
    np.testing.assert_allclose(pooled.mz / true, 1, atol=1.5e-6)
    expected = np.zeros((len(true), 50))
    np.add.at(expected, (ion, pixel), intensity)
    np.testing.assert_allclose(pooled.intensity, expected, rtol=1e-12)


def test_two_ions_nearer_than_two_tolerances_are_told_apart() -> None:
    random = np.random.default_rng(3)
    true = np.array([500.0, 500.0 * (1 + 15e-6)])
    mz = np.concatenate([each * (1 + random.normal(0, 1.5e-6, 400)) for each in true])
    bins = choose_bins(count_cells(mz, PPM), ppm=PPM, min_count=50)
    assert len(bins) == 2
    np.testing.assert_allclose(bins.counts, 400, rtol=0.02)


def test_pooling_is_a_sum_over_peaks() -> None:
    mz, intensity, pixel, *_ = simulated(1)
    bins = choose_bins(count_cells(mz, PPM), ppm=PPM, min_count=10)
    pooled = pool(shares_of(mz, intensity, pixel, [7, 20]), bins, 50)
    cells = cells_of(mz, PPM)
    for number, (low, high) in enumerate(zip(bins.lowest, bins.highest, strict=True)):
        inside = (cells >= low) & (cells <= high)
        for place in range(50):
            expected = intensity[inside & (pixel == place)].astype(float).sum()
            assert pooled.intensity[number, place] == pytest.approx(expected)
        assert pooled.mz[number] == pytest.approx(np.average(mz[inside], weights=intensity[inside]), rel=1e-12)


@few
@given(st.lists(st.integers(1, 49), max_size=6, unique=True), st.integers(1, 30), st.integers(0, 99), st.randoms())
def test_shares_and_windows_change_not_a_bit(cuts: list[int], n_bins: int, seed: int, random: object) -> None:
    mz, intensity, pixel, *_ = simulated(seed)
    bins = choose_bins(count_cells(mz, PPM), ppm=PPM, min_count=5)
    whole = pool(shares_of(mz, intensity, pixel, []), bins, 50)
    shares = shares_of(mz, intensity, pixel, cuts)
    merged = merge_counts(count_cells(share.mz, PPM) for share in shares)
    np.testing.assert_array_equal(choose_bins(merged, ppm=PPM, min_count=5).lowest, bins.lowest)
    random.shuffle(shares)  # type: ignore[attr-defined]
    parts = [pool(shares, bins[window], 50) for window in windows_of(len(bins), 50, 50 * n_bins)]
    np.testing.assert_array_equal(np.concatenate([part.intensity for part in parts]), whole.intensity)
    np.testing.assert_array_equal(np.concatenate([part.mz for part in parts]), whole.mz)


def test_no_peaks_and_no_bins() -> None:
    nothing = count_cells(np.empty(0), PPM)
    bins = choose_bins(merge_counts([nothing, nothing]), ppm=PPM, min_count=1)
    assert len(bins) == 0
    assert bin_of(np.array([100.0]), bins).tolist() == [-1]
    empty = Peaks(np.empty(0), np.empty(0, np.float32), np.empty(0, np.int32))
    assert pool([empty], bins, 3).intensity.shape == (0, 3)


def test_a_peak_outside_of_all_bins_has_none() -> None:
    bins = Bins(*(np.array([value]) for value in cells_of(np.array([300.0, 300.002]), PPM)), np.array([1]), PPM)
    assert bin_of(np.array([299.9, 300.001, 300.1]), bins).tolist() == [-1, 0, -1]
    assert 300.0 < bins.middle[0] < 300.002


@few
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100))
def test_ranges_hold_all_spectra_once_and_no_more_points_than_asked(lengths: list[int], most: int) -> None:
    ranges = ranges_of(np.array(lengths, dtype=np.int64), most)
    assert [row for rows in ranges for row in rows] == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in rows) <= most or len(rows) == 1 for rows in ranges)


@few
@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 500))
def test_windows_hold_all_bins_once(n_bins: int, n_spectra: int, most: int) -> None:
    windows = windows_of(n_bins, n_spectra, most)
    assert [each for window in windows for each in range(window.start, window.stop)] == list(range(n_bins))
    assert all((w.stop - w.start) * n_spectra <= most or w.stop - w.start == 1 for w in windows)
