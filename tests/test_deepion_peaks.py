"""Peaks against the Gaussians they were drawn from; on their way to the disk and back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from deepion_imzml import PEAKS, PLACES, edit, write_imzml

from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.peaks import is_profile, noise_of, pick, read_peaks, spill, spilled
from ms2img.errors import UsageError


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    return write_imzml(tmp_path / "a.imzML", PEAKS, PLACES)


def test_what_a_file_says_of_itself_decides_on_picking(pair: Path) -> None:
    imzml = open_imzml(str(pair))
    assert not is_profile(imzml, "auto")
    assert is_profile(imzml, "profile")
    edit(pair, lambda xml: re.sub(r"<cvParam[^>]*centroid spectrum[^>]*>", "", xml))
    with pytest.raises(UsageError, match="says neither"):
        is_profile(open_imzml(str(pair)), "auto")


def test_picked_peaks_are_the_gaussians_that_were_drawn() -> None:
    random = np.random.default_rng(1)
    mz = np.arange(100, 400, 0.02)
    centres = np.arange(110, 390, 7.0) + random.uniform(0, 1, 40)
    clean = sum(100 * np.exp(-0.5 * ((mz - centre) / 0.05) ** 2) for centre in centres)
    apex, height = pick(mz, clean + random.normal(0, 1, len(mz)), min_snr=10)
    np.testing.assert_allclose(apex, centres, atol=0.01)
    np.testing.assert_allclose(height, 100, rtol=0.05)


def test_noise_is_the_spread_of_normal_noise_whatever_the_peaks() -> None:
    random = np.random.default_rng(2)
    values = random.normal(50, 3, 20_000)
    values[::100] += 1000
    assert noise_of(values) == pytest.approx(3, rel=0.05)
    assert noise_of(np.empty(0)) == 0


def test_peaks_keep_their_pixel_and_survive_the_disk(pair: Path, tmp_path: Path) -> None:
    peaks, tic = read_peaks(open_imzml(str(pair)), range(1, 3), profile=False)
    assert peaks.mz.tolist() == [99.5, 100.5, 150.5]
    assert peaks.pixel.tolist() == [2, 2, 1]
    assert tic.tolist() == [7.0, 0.75]
    spill(tmp_path / "peaks.arrow", peaks)
    back = spilled(tmp_path / "peaks.arrow")
    for name in ("mz", "intensity", "pixel"):
        np.testing.assert_array_equal(getattr(back, name), getattr(peaks, name))
        assert getattr(back, name).dtype == getattr(peaks, name).dtype
    assert back.between(100.0, 150.5).mz.tolist() == [100.5, 150.5]


def test_a_spectrum_without_peaks_is_a_measured_pixel(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [0.0]), ([100.0], [-2.0])], [(1, 1), (2, 1)])
    peaks, tic = read_peaks(open_imzml(str(path)), range(2), profile=False)
    assert len(peaks) == 0
    assert tic.tolist() == [0.0, 0.0]
    spill(tmp_path / "peaks.arrow", peaks)
    assert len(spilled(tmp_path / "peaks.arrow")) == 0
