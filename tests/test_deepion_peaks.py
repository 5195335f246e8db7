"""Peaks against the Gaussians they were drawn from; on their way to the disk and back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from deepion_imzml import PEAKS, PLACES, edit, write_imzml
from hypothesis import given, settings
from hypothesis import strategies as st

from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.peaks import Peaks, is_profile, noise_of, pick, read_peaks
from ms2img.deepion.pooling import count_cells
from ms2img.deepion.spill import BATCH, Share, Spills
from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder

few = settings(deadline=None, max_examples=15)  # no test is timed
BATCH_OF_TEST = 4  # values of a batch, each repeated


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
    spills, rows = Spills(folder(str(tmp_path / "scratch")), "a/"), range(1, 3)
    peaks, tic = read_peaks(open_imzml(str(pair)), range(1, 3), profile=False)
    assert peaks.mz.tolist() == [99.5, 100.5, 150.5]
    assert peaks.pixel.tolist() == [2, 2, 1]
    assert tic.tolist() == [7.0, 0.75]
    assert not spills.there()
    spills.write(Share(rows, count_cells(peaks.mz, 10.0), tic, len(peaks)), peaks)
    assert spills.there() == {spills.name_of(rows)}
    (back,) = spills.peaks(rows, 0.0, np.inf)
    for name in ("mz", "intensity", "pixel"):
        np.testing.assert_array_equal(getattr(back, name), getattr(peaks, name))
        assert getattr(back, name).dtype == getattr(peaks, name).dtype
    (some,) = spills.peaks(rows, 100.0, 150.5)
    assert some.mz.tolist() == [100.5, 150.5]
    known = spills.read(rows)
    assert (known.n_peaks, known.tic.tolist(), known.counts.counts.tolist()) == (3, [7.0, 0.75], [1, 1, 1])
    spills.scratch.delete(spills.scratch.names())
    with pytest.raises(JobError, match="share-000000001.npz: was removed while it was needed"):
        spills.read(rows)
    with pytest.raises(JobError, match="peaks-000000001.arrow: was removed while it was needed"):
        list(spills.peaks(rows, 0.0, np.inf))


@few
@given(st.lists(st.integers(1, 60), max_size=12 * BATCH_OF_TEST), st.integers(0, 61), st.integers(0, 61))
def test_batches_give_the_peaks_between_and_no_more_than_they_must(
    tmp_path_factory: pytest.TempPathFactory, masses: list[int], low: int, high: int
) -> None:
    """Many peaks at few m/z: what is asked for begins, ends or lies in any batch, or is all of one."""
    spills = Spills(folder(str(tmp_path_factory.mktemp("scratch"))))
    mz = np.sort(np.repeat(np.array(masses, float), BATCH // BATCH_OF_TEST))
    peaks = Peaks(mz, np.ones(len(mz), np.float32), np.arange(len(mz), dtype=np.int32))
    spills.write(Share(range(1), count_cells(mz, 10.0), np.ones(1), len(mz)), peaks)
    found = list(spills.peaks(range(1), low, high))
    expected = peaks.between(low, high)
    assert sum(map(len, found)) == len(expected)
    if len(expected):
        np.testing.assert_array_equal(np.concatenate([each.pixel for each in found]), expected.pixel)
    assert len(found) <= len(expected) // BATCH + 3


def test_a_spectrum_without_peaks_is_a_measured_pixel(tmp_path: Path) -> None:
    path = write_imzml(tmp_path / "a.imzML", [([100.0], [0.0]), ([100.0], [-2.0])], [(1, 1), (2, 1)])
    peaks, tic = read_peaks(open_imzml(str(path)), range(2), profile=False)
    assert len(peaks) == 0
    assert tic.tolist() == [0.0, 0.0]
    spills = Spills(folder(str(tmp_path / "scratch")))
    spills.write(Share(range(2), count_cells(peaks.mz, 10.0), tic, 0), peaks)
    assert list(spills.peaks(range(2), 0.0, np.inf)) == []
