"""Merging repeated scans against a search written for the test, and by its invariants; centroiding by known peaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.io.formats.centroid import centroid
from ms2img.io.formats.merge import merge_repeats
from ms2img.io.formats.spectra import UNNAMED
from ms2img.io.read_config import ReadOptions

OPTIONS = ReadOptions(merge_mz=0.01, merge_rt_seconds=10)


def row(
    name: str, mz: float, rt: float | None, height: float | None, peaks: list[float] | None = None, **more: Any
) -> dict[str, Any]:
    intensity = [1.0] if peaks is None else peaks
    stated = {"spectrum_id": name, "precursor_mz": mz, "precursor_intensity": height, "rt_seconds": rt}
    return {**stated, "mz": [50.0 + i for i in range(len(intensity))], "intensity": intensity, **more}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=UNNAMED)


def left(rows: list[dict[str, Any]], options: ReadOptions = OPTIONS) -> str:
    return "".join(merge_repeats(table(rows), options)["spectrum_id"].to_pylist())


def test_off_by_default() -> None:
    rows = [row("a", 100, 1, 1), row("b", 100, 1, 2)]
    assert left(rows, ReadOptions()) == "ab"
    assert left(rows, ReadOptions(merge_mz=0.01)) == "b"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", 100, 0, 1), row("b", 100.009, 9, 5), row("c", 100, 8, 2)], "b"),
        ([row("a", 100, 0, 1), row("b", 100.011, 0, 5)], "ab"),  # m/z
        ([row("a", 100, 0, 1), row("b", 100, 10.1, 5)], "ab"),  # time
        ([row("a", 100, None, 1), row("b", 100, None, 5), row("c", 100, 0, 5)], "abc"),  # no time, nobody's repeat
        ([row("a", 100, 0, 3), row("b", 100, 8, 5), row("c", 100, 16, 4)], "b"),
        ([row("a", 100, 0, 5), row("b", 100, 8, 3), row("c", 100, 16, 4)], "ac"),  # no chain: b is a's, c its own
        ([row("a", 100, 0, 1), row("b", 100, 1, 5, [])], "a"),  # peaks before none
        ([row("a", 100, 0, 1, []), row("b", 100, 1, 5, [])], "b"),
        ([row("a", 100, 0, 2), row("b", 100, 1, 2)], "a"),  # of equals the first
        ([row("a", 100, 0, None, [9.0]), row("b", 100, 1, 7, [1.0, 2.0])], "a"),  # summed where one has none
        ([row("a", 100, 0, None, []), row("b", 100, 1, 7, [1.0]), row("c", 100, 1, 3, [8.0])], "b"),
        ([row("a", 100, 0, 1, charge=1), row("b", 100, 1, 5, charge=2), row("c", 100, 1, 3)], "ab"),
        ([row("a", 100, 0, 1, polarity="positive"), row("b", 100, 1, 5, polarity="negative")], "ab"),
        ([row("a", 100, 0, 1, polarity="positive"), row("b", 100, 1, 5)], "b"),
        ([], ""),
    ],
)
def test_who_stands_for_whom(rows: list[dict[str, Any]], expected: str) -> None:
    assert left(rows) == expected


rows_of_runs = st.lists(
    st.tuples(
        st.sampled_from([100.0, 100.004, 100.008, 100.012, 250.0]),
        st.one_of(st.none(), st.integers(0, 40)),
        st.sampled_from([None, 1, 2]),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(drawn=rows_of_runs, order=st.randoms(use_true_random=False))
def test_invariants(drawn: list[tuple[float, int | None, int | None, int]], order: Any) -> None:
    heights = list(range(1, len(drawn) + 1))
    order.shuffle(heights)  # all different, so that nothing hangs on the order of equals
    rows = [
        row(str(index), mz, rt, height, [1.0] * n, charge=charge)
        for index, ((mz, rt, charge, n), height) in enumerate(zip(drawn, heights, strict=True))
    ]
    merged = merge_repeats(table(rows), OPTIONS)
    kept = merged.to_pylist()
    assert kept == [r for r in table(rows).to_pylist() if r in kept]  # unchanged rows, in their order
    assert merge_repeats(merged, OPTIONS).equals(merged)

    def repeats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        near = abs(one["precursor_mz"] - other["precursor_mz"]) <= 0.01
        charges = {one["charge"], other["charge"]} - {None}
        times = one["rt_seconds"], other["rt_seconds"]
        return near and len(charges) < 2 and None not in times and abs(times[0] - times[1]) <= 10

    def strength(one: dict[str, Any]) -> tuple[bool, float]:
        return bool(one["mz"]), one["precursor_intensity"]

    for one in rows:
        takers = [other for other in kept if repeats(one, other)]
        names = [other["spectrum_id"] for other in takers]
        if one["spectrum_id"] in [other["spectrum_id"] for other in kept]:
            assert names in ([one["spectrum_id"]], [])  # no two that are left are repeats
        else:
            assert any(strength(other) > strength(one) for other in takers)
    shuffled = rows.copy()
    order.shuffle(shuffled)
    again = merge_repeats(table(shuffled), OPTIONS)["spectrum_id"].to_pylist()
    assert sorted(again) == sorted(r["spectrum_id"] for r in kept)


@settings(max_examples=150, deadline=None)
@given(
    centres=st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True),
    offset=st.floats(0, 1),
    step=st.sampled_from([0.001, 0.004, 0.01]),
    is_stripped=st.booleans(),
)
def test_gaussian_peaks_are_found_where_they_are(
    centres: list[int], offset: float, step: float, is_stripped: bool
) -> None:
    true_mz = np.sort(np.array(centres)) * 40 * step + 100 + offset * step
    height = np.arange(1.0, len(centres) + 1) * 10
    mz = np.arange(100, 100 + 62 * 40 * step, step)
    sigma = 2.5 * step
    signal = (height[:, None] * np.exp(-0.5 * ((mz - true_mz[:, None]) / sigma) ** 2)).sum(axis=0)
    signal[signal < 1e-3] = 0
    if is_stripped:
        mz, signal = mz[signal > 0], signal[signal > 0]
    found_mz, found = centroid(mz, signal)
    np.testing.assert_allclose(found_mz, true_mz, atol=0.02 * step)
    assert (found <= height * (1 + 1e-9)).all()
    np.testing.assert_allclose(found, height, rtol=0.03)  # the highest point is at most half a step off the apex


def test_centroids_that_are_called_a_profile_stay_as_they_are() -> None:
    mz = np.array([100.0, 100.5, 101.0, 150.0, 150.25])
    intensity = np.array([5.0, 9.0, 1.0, 2.0, 2.0])
    np.testing.assert_array_equal(centroid(mz[::-1], intensity[::-1]), (mz, intensity))
    for empty in (centroid(np.empty(0), np.empty(0)), centroid(mz, np.zeros(5))):
        assert [len(part) for part in empty] == [0, 0]
    plateau = centroid(np.array([1.0, 1.1, 1.2, 1.3]), np.array([0.0, 4.0, 4.0, 0.0]))
    np.testing.assert_array_equal(plateau, ([1.1], [4.0]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e30)), max_size=30))
def test_any_profile_gives_sound_peaks(points: list[tuple[float, float]]) -> None:
    mz, intensity = np.array(points, float).reshape(-1, 2).T
    found_mz, found = centroid(mz, intensity)
    assert np.isfinite(found_mz).all()
    assert set(found) <= set(intensity)
    assert (found_mz >= mz.min(initial=0)).all()
    assert (found_mz <= mz.max(initial=0)).all()
