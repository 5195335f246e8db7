"""Spectra to points: the rule written again as a plain loop, and each named case by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from render_inputs import Spectrum, table

from ms2img.errors import Code, RunError
from ms2img.io.schema import SPECTRA
from ms2img.ms2toimg.points import Points, points_from_spectra
from ms2img.ms2toimg.render_config import RenderConfig


def points(*spectra: Spectrum, **options: Any) -> Points:
    return points_from_spectra(table(*spectra), RenderConfig(**options), path="run.mgf")


def refused(*spectra: Spectrum, **options: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        points(*spectra, **options)
    return caught.value


def plain_loop(spectra: list[Spectrum], config: RenderConfig) -> dict[str, Any]:
    """The documented order, one spectrum and one peak at a time."""
    peaks_of = [[(mz, height) for mz, height in peaks if height > 0] for _, _, peaks in spectra]
    summed = any(intensity is None and peaks for (_, intensity, _), peaks in zip(spectra, peaks_of, strict=True))
    intensities = [
        sum(height for _, height in peaks) if summed else (intensity or 0.0)
        for (_, intensity, _), peaks in zip(spectra, peaks_of, strict=True)
    ]
    total = sum(intensities)
    kept = [total > 0 and value / total > config.intensity_cut for value in intensities]
    left = [value for value, keep in zip(intensities, kept, strict=True) if keep]
    low = min(left, default=0.0) if config.scale == "minmax" else 0.0
    high = max(left, default=0.0)
    found: dict[str, Any] = {
        "drawn": [],
        "n_without_msms": sum(not peaks for peaks in peaks_of),
        "n_below_cut": sum(bool(peaks) and not keep for peaks, keep in zip(peaks_of, kept, strict=True)),
        "n_impossible": 0,
        "n_outside": 0,
        "ms1_source": "summed-msms" if summed else "file",
    }
    for (precursor_mz, _, _), peaks, keep, value in zip(spectra, peaks_of, kept, intensities, strict=True):
        if not keep:
            continue
        limit = float("inf") if config.keep_above_precursor else precursor_mz + config.precursor_tolerance
        possible = [(mz, height) for mz, height in peaks if mz <= limit]
        found["n_impossible"] += len(peaks) - len(possible)
        brightest = max((height for _, height in possible), default=0.0)
        size = (value - low) / (high - low) if high > low else 1.0
        for mz, height in possible:
            if 100 <= precursor_mz < 1500 and 0 <= mz < 1500:
                found["drawn"].append((precursor_mz, mz, size, height / brightest))
            else:
                found["n_outside"] += 1
    return found


EDGES = [99.99, 100.0, 500.0, 500.5, np.nextafter(500.5, 501), 1499.99, 1500.0, 1500.4]
MZ = st.one_of(st.sampled_from([0.0, *EDGES]), st.floats(0, 1700, allow_subnormal=False))
HEIGHT = st.integers(0, 1000).map(float)
PEAKS = st.lists(st.tuples(MZ, HEIGHT), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    spectra=st.lists(st.tuples(MZ, st.one_of(st.none(), HEIGHT), PEAKS), min_size=1, max_size=8),
    all_absent=st.booleans(),
    config=st.builds(
        RenderConfig,
        scale=st.sampled_from(["max", "minmax"]),
        intensity_cut=st.sampled_from([0.0, 1e-4, 0.0437182]),
        keep_above_precursor=st.booleans(),
        precursor_tolerance=st.sampled_from([0.0, 0.5]),
    ),
)
def test_every_run_agrees_with_the_plain_loop(spectra: list[Spectrum], all_absent: bool, config: RenderConfig) -> None:
    if not all_absent:  # `None` in the table is rare enough then that "file" is tried too
        spectra = [
            (mz, 7.0 if value is None and index % 3 else value, p) for index, (mz, value, p) in enumerate(spectra)
        ]
    expected = plain_loop(spectra, config)
    if not expected["drawn"]:
        with pytest.raises(RunError) as caught:
            points_from_spectra(table(*spectra), config, path="run.mgf")
        no_msms = expected["n_without_msms"] == len(spectra)
        assert caught.value.code == (Code.NO_MSMS if no_msms else Code.NOTHING_TO_DRAW)
        return
    found = points_from_spectra(table(*spectra), config, path="run.mgf")
    drawn = np.array(expected.pop("drawn"))
    np.testing.assert_array_equal(found.precursor_mz, drawn[:, 0])
    np.testing.assert_array_equal(found.fragment_mz, drawn[:, 1])
    np.testing.assert_allclose(found.size, drawn[:, 2], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.grey, drawn[:, 3], rtol=1e-12)
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.n_spectra == len(spectra)
    assert ((found.size >= 0) & (found.size <= 1) & (found.grey > 0) & (found.grey <= 1)).all()


def test_the_total_counts_every_row_and_the_scale_every_row_above_the_cut() -> None:
    found = points((200.0, 10.0, [(50.0, 1.0)]), (300.0, 990.0, []), (400.0, 5.0, [(60.0, 1.0)]), intensity_cut=0.006)
    # 5 / 1005 is under the cut only because the row without MS/MS counts; 990 is the maximum although it is not drawn
    np.testing.assert_allclose(found.size, [10 / 990])
    assert (found.n_spectra, found.n_without_msms, found.n_below_cut, found.n_fragments) == (3, 1, 1, 1)


def test_the_cut_is_exclusive() -> None:
    found = points((200.0, 1.0, [(50.0, 1.0)]), (300.0, 3.0, [(60.0, 1.0)]), intensity_cut=0.25)
    assert found.precursor_mz.tolist() == [300.0]


def test_minmax_of_equal_intensities_draws_the_largest_marker() -> None:
    found = points((200.0, 3.0, [(50.0, 1.0)]), (300.0, 3.0, [(60.0, 1.0)]), scale="minmax")
    assert found.size.tolist() == [1.0, 1.0]


def test_an_impossible_fragment_does_not_dim_its_spectrum_but_one_outside_the_axes_does() -> None:
    peaks = [(50.0, 1.0), (80.0, 4.0), (300.0, 100.0)]
    assert points((200.0, 1.0, peaks)).grey.tolist() == [0.25, 1.0]
    assert points((200.0, 1.0, peaks), keep_above_precursor=True).grey.tolist() == [0.01, 0.04, 1.0]
    narrow = points((200.0, 1.0, peaks), fragment_mz=(0.0, 60.0))
    assert (narrow.grey.tolist(), narrow.n_impossible, narrow.n_outside) == ([0.25], 1, 1)


def test_one_absent_precursor_intensity_moves_the_whole_run_to_summed_msms() -> None:
    spectra: list[Spectrum] = [(200.0, 1e6, [(50.0, 1.0), (60.0, 1.0)]), (300.0, None, [(70.0, 8.0)])]
    found = points(*spectra)
    assert (found.ms1_source, found.size.tolist()) == ("summed-msms", [0.25, 0.25, 1.0])
    error = refused(*spectra, missing_precursor_intensity="refuse")
    assert (error.code, error.position) == (Code.BAD_VALUE, "spectrum s1")


def test_an_absent_intensity_without_msms_decides_nothing() -> None:
    found = points((200.0, 5.0, [(50.0, 1.0)]), (300.0, None, []), missing_precursor_intensity="refuse")
    assert (found.ms1_source, found.n_without_msms) == ("file", 1)


def test_a_chunked_and_sliced_table_is_the_same_run() -> None:
    spectra: list[Spectrum] = [(200.0 + i, 1.0 + i, [(50.0 + j, 1.0 + j) for j in range(i)]) for i in range(9)]
    whole = table(*spectra)
    pieces = pa.concat_tables([whole.slice(1, 3), whole.slice(4, 0), whole.slice(4, 4)])
    found = points_from_spectra(pieces, RenderConfig(), path="run.mgf")
    expected = points(*spectra[1:8])
    np.testing.assert_array_equal(found.fragment_mz, expected.fragment_mz)
    np.testing.assert_array_equal(found.size, expected.size)
    assert found.n_spectra == 7


@pytest.mark.parametrize("spectra", [[], [(200.0, 1.0, [])], [(200.0, None, [(50.0, 0.0)])]])
def test_without_a_peak_the_run_has_no_msms(spectra: list[Spectrum]) -> None:
    assert refused(*spectra).code == Code.NO_MSMS


@pytest.mark.parametrize(
    ("spectrum", "why"),
    [
        ((200.0, 1.0, [(300.0, 1.0)]), "1 fragments above"),
        ((50.0, 1.0, [(40.0, 1.0)]), "1 outside"),
        ((200.0, 0.0, [(50.0, 1.0)]), "1 spectra below"),
    ],
)
def test_with_nothing_left_the_message_says_what_was_dropped(spectrum: Spectrum, why: str) -> None:
    error = refused(spectrum)
    assert error.code == Code.NOTHING_TO_DRAW
    assert error.path == "run.mgf"
    assert why in error.message


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("place", ["precursor m/z", "precursor intensity", "fragment m/z", "fragment intensity"])
def test_what_no_reader_should_pass_on_is_refused_with_its_place(bad: float, place: str) -> None:
    spectrum = (
        bad if place == "precursor m/z" else 200.0,
        bad if place == "precursor intensity" else 1.0,
        [(bad if place == "fragment m/z" else 50.0, bad if place == "fragment intensity" else 1.0)],
    )
    error = refused((150.0, 1.0, [(50.0, 1.0)]), spectrum)
    assert (error.code, error.position) == (Code.BAD_VALUE, "spectrum s1")
    assert place in error.message


def test_lists_of_unequal_length_are_refused() -> None:
    spectra = table((200.0, 1.0, [(50.0, 1.0)]), (300.0, 1.0, [(60.0, 1.0)]))
    crossed = spectra.set_column(10, SPECTRA.field("intensity"), pa.array([[1.0, 2.0], []], pa.list_(pa.float32())))
    with pytest.raises(RunError, match="spectrum s0") as caught:
        points_from_spectra(crossed, RenderConfig(), path="run.mgf")
    assert caught.value.code == Code.BAD_VALUE


def test_intensities_at_the_end_of_the_number_range_do_not_overflow() -> None:
    found = points((200.0, 1.7e308, [(50.0, 1.0)]), (300.0, 1.7e308, [(60.0, 3e38), (70.0, 3e38)]))
    assert found.size.tolist() == [1.0, 1.0, 1.0]


def test_another_schema_is_a_defect_of_the_caller() -> None:
    with pytest.raises(TypeError, match="points_from_spectra"):
        points_from_spectra(table((200.0, 1.0, [])).drop_columns("mz"), RenderConfig(), path="run.mgf")
