"""Peak lists to vectors and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ms2img.errors import UsageError
from ms2img.massformer.spectrum import TRANSFORMS, SpectrumConfig, bin_of, binned, transformed, untransformed

WIDE = SpectrumConfig(bin_width=2.5, mz_max=100.0)
peaks = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 130), st.integers(0, 260).map(lambda half: half / 2)),  # halves: edges of bins
        st.floats(0, 1e6, allow_subnormal=False),
    ),
    max_size=30,
)


@given(peaks, st.sampled_from(["max", "sum"]))
def test_binned_is_what_a_slow_loop_makes(listed: list[tuple[float, float]], merge: str) -> None:
    config = SpectrumConfig(bin_width=2.5, mz_max=100.0, merge=merge)
    bins = [0.0] * 40
    for mz, intensity in listed:
        for number in range(40):
            if 2.5 * number <= mz < 2.5 * (number + 1):  # half-open
                bins[number] = max(bins[number], intensity) if merge == "max" else bins[number] + intensity
    base = max(bins)
    found = binned([mz for mz, _ in listed], [intensity for _, intensity in listed], config)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [value / base if base > 0 else 0.0 for value in bins], rtol=1e-6, atol=1e-30)


def test_the_largest_peak_of_a_bin_counts_and_those_beyond_the_range_do_not() -> None:
    found = binned([100.2, 100.9, 101.0, 999.999, 1000.0, -0.5], [3.0, 4.0, 2.0, 1.0, 50.0, 50.0], SpectrumConfig())
    assert found.shape == (1000,)
    assert {k: found[k] for k in np.flatnonzero(found)} == {100: 1.0, 101: 0.5, 999: 0.25}


def test_a_list_without_peaks_is_a_vector_of_zeros_and_stays_one() -> None:
    empty = binned([], [], WIDE)
    assert not empty.any()
    assert not transformed(empty, WIDE).any()
    assert not untransformed(transformed(empty, WIDE), WIDE).any()


def test_intensities_must_match_the_peaks() -> None:
    with pytest.raises(ValueError, match="one each a peak"):
        binned([1.0, 2.0], [1.0], WIDE)


def test_the_high_resolution_variant_has_ten_thousand_bins_of_a_tenth() -> None:
    config = SpectrumConfig(bin_width=0.1)
    assert config.n_bins == 10_000
    assert bin_of([0.05, 100.15, 999.95], config).tolist() == [0, 1001, 9999]


def test_a_range_that_is_no_multiple_of_the_width_keeps_its_last_part() -> None:
    config = SpectrumConfig(bin_width=3.0, mz_max=10.0)
    assert config.n_bins == 4
    assert binned([9.5, 10.5], [1.0, 1.0], config).tolist() == [0, 0, 0, 1]


def test_the_log_transform_is_the_released_codes() -> None:
    values = [0.0, 0.001, 0.25, 1.0]
    logs = [math.log10(1000 * value + 1) / 3 for value in values]
    found = transformed(values, SpectrumConfig(transform="log"))
    np.testing.assert_allclose(found, [each / sum(logs) for each in logs], rtol=1e-6)


def test_the_other_transforms() -> None:
    np.testing.assert_allclose(transformed([0.25, 1.0], SpectrumConfig(transform="sqrt")), [1 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(transformed([0.25, 1.0], SpectrumConfig(transform="none")), [0.2, 0.8], rtol=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("scale", [1.0, 17.0, 1e-4])
def test_untransformed_takes_the_transform_back_whatever_the_scale(transform: str, scale: float) -> None:
    config = SpectrumConfig(transform=transform)
    rng = np.random.default_rng(3)
    spectra = np.where(rng.random((4, 1000)) < 0.03, rng.random((4, 1000)), 0)
    spectra[:, 7] = 1
    found = untransformed(scale * transformed(spectra, config), config)
    np.testing.assert_allclose(found, spectra, atol=2e-6)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"bin_width": 0.0}, "bin_width: 0.0; expected a number above 0"),
        ({"mz_max": 0.5}, "mz_max: 0.5; expected a number at least 1"),
        ({"transform": "cube"}, "transform: 'cube'; expected one of log, sqrt, none"),
        ({"merge": "mean"}, "merge: 'mean'; expected one of max, sum"),
    ],
)
def test_a_bad_setting_is_named(setting: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SpectrumConfig(**setting)


def test_settings_travel_as_json() -> None:
    assert SpectrumConfig.from_dict(WIDE.to_dict()) == WIDE
