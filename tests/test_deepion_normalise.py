"""Normalising against NumPy's quantiles, scikit-learn's scaler and the released code's own two lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import MinMaxScaler

from ms2img.deepion import normalise
from ms2img.deepion.prepare_settings import PRESETS, PrepareSettings
from ms2img.errors import UsageError

few = settings(deadline=None, max_examples=30)  # no test is timed

#: Ions x pixels; whole numbers, so that no sum is rounded.
counts = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 30)), elements=st.integers(0, 1000))


@few
@given(counts, st.floats(0.01, 0.999))
def test_quantile_caps_are_numpys_over_pixels_with_signal(values: np.ndarray, level: float) -> None:
    capped = normalise.cap_by_quantile(values, level)
    for row, found in zip(values, capped, strict=True):
        cap = np.quantile(row[row > 0], level) if row.any() else 0
        np.testing.assert_array_equal(found, np.minimum(row, cap))


@few
@given(counts, st.floats(0.01, 0.999))
def test_fraction_caps_are_of_the_maximum(values: np.ndarray, level: float) -> None:
    for row, found in zip(values, normalise.cap_by_fraction(values, level), strict=True):
        np.testing.assert_array_equal(found, [min(value, level * max(row)) for value in row])


def test_the_two_readings_of_the_papers_sentence_differ_at_a_hot_spot() -> None:
    image = np.concatenate([np.linspace(1, 2, 999), [1000.0]]).reshape(1, -1)
    assert normalise.cap_by_quantile(image, 0.99).max() < 2
    assert normalise.cap_by_fraction(image, 0.99).max() == 990


@few
@given(counts)
def test_min_max_is_scikit_learns(values: np.ndarray) -> None:
    scaled, flat = normalise.min_max(values)
    np.testing.assert_allclose(scaled.T, MinMaxScaler().fit_transform(values.T), atol=1e-12)
    np.testing.assert_array_equal(flat, np.ptp(values, axis=1) == 0)


@few
@given(counts)
def test_total_ion_counts_divide_pixels(values: np.ndarray) -> None:
    tic = values.sum(axis=0)
    found = normalise.by_tic(values, tic)
    np.testing.assert_allclose(found.sum(axis=0), (tic > 0).astype(float))
    assert (found[:, tic == 0] == 0).all()


@few
@given(counts)
def test_presence_is_a_share_of_pixels(values: np.ndarray) -> None:
    expected = [sum(value > 0 for value in row) / len(row) for row in values]
    np.testing.assert_allclose(normalise.presence(values), expected)


@few
@given(counts)
def test_preset_released_is_the_released_codes_own(values: np.ndarray) -> None:
    """DeepION.py: matrix over the sum of each ion, then MinMaxScaler; both of pixels x ions."""
    values = values[values.any(axis=1)]
    matrix = values.T
    theirs = MinMaxScaler().fit_transform(matrix / np.sum(matrix, axis=0).reshape(1, -1)[0]) if len(values) else matrix
    ours, flat = normalise.scaled(values, PRESETS["released"])
    np.testing.assert_allclose(ours[~flat].T, theirs[:, ~flat], atol=1e-9)


@few
@given(counts, st.sampled_from(["tic", "none"]), st.sampled_from(["quantile", "max-fraction", "none"]))
def test_images_are_of_0_to_1_whatever_the_unit(values: np.ndarray, pixel_norm: str, hotspots: str) -> None:
    asked = PrepareSettings(pixel_norm=pixel_norm, hotspots=hotspots)
    tic = values.sum(axis=0)
    found = normalise.kept(values, tic, asked).values
    assert ((found >= 0) & (found <= 1)).all()
    assert (found.min(axis=1) == 0).all()
    assert (found.max(axis=1) == 1).all()
    again = normalise.kept(values * 1024.0, tic * 1024.0, asked).values  # a power of two: nothing is rounded anew
    np.testing.assert_array_equal(again, found)


@few
@given(counts, st.sampled_from(["tic", "none"]), st.floats(0, 1, exclude_max=True))
def test_what_is_kept_of_each_ion(values: np.ndarray, pixel_norm: str, min_presence: float) -> None:
    asked = PrepareSettings(pixel_norm=pixel_norm, min_presence=min_presence, hotspots="none")
    tic = values.sum(axis=0)
    kept = normalise.kept(values, tic, asked)
    even = values / np.where(tic > 0, tic, 1) if pixel_norm == "tic" else values
    share = (values > 0).mean(axis=1)
    rare = (share < min_presence) | (share == 0)
    expected = [row for row in range(len(values)) if not rare[row] and np.ptp(even[row])]
    assert kept.rows.tolist() == expected
    assert (kept.n_rare, kept.n_flat) == (rare.sum(), len(values) - rare.sum() - len(expected))
    np.testing.assert_array_equal(kept.presence, share[expected])
    np.testing.assert_allclose(kept.intensity, even[expected].mean(axis=1))


def test_a_capped_ion_is_as_bright_as_it_was_measured() -> None:
    """A parent's hot spots are its own: brightness is told before they are capped."""
    values = np.array([[1.0, 1, 3, 95], [2, 2, 3, 3]])
    kept = normalise.kept(values, values.sum(axis=0), PrepareSettings(pixel_norm="none", hotspot_level=0.5))
    assert kept.intensity.tolist() == [25.0, 2.5]


def test_nothing_is_changed_in_place() -> None:
    values = np.random.default_rng(0).gamma(1, 1, (3, 40))
    before = values.copy()
    normalise.kept(values, values.sum(axis=0), PRESETS["paper"])
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ppm": 0.0}, "ppm: 0.0; expected a number above 0"),
        ({"hotspots": "max"}, "hotspots: 'max'; expected one of quantile, max-fraction, none"),
        ({"min_presence": 1.5}, "min_presence"),
        ({"hotspot_level": 0.0}, "hotspot_level"),
        ({"spectra": "peaks"}, "expected one of auto, profile, centroid"),
        ({"ppms": 5.0}, "did you mean 'ppm'?"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        PrepareSettings.from_dict(values)
    assert words in str(caught.value)


def test_settings_survive_json() -> None:
    for preset in PRESETS.values():
        assert PrepareSettings.from_dict(preset.to_dict()) == preset
