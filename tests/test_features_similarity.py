"""The similarities against matchms, ms_entropy and SciPy as their own users call them."""

from __future__ import annotations

import numpy as np
import pytest
from matchms import Spectrum
from matchms.similarity import CosineGreedy
from ms_entropy import calculate_entropy_similarity
from scipy.stats import entropy, norm

from ms2img.io.formats.mgf import read_mgf
from ms2img.ms2toimg.features.similarity import gaussian, spectrum_similarity
from ms2img.ms2toimg.features.table import Peaks


@pytest.fixture(scope="module")
def real_spectra(shared) -> list[np.ndarray]:
    """Forty spectra of a real run, neighbours in retention time: some alike, some not."""
    path = sorted((shared / "data/qemistree/mgf").glob("*F1-1_F2-1.mgf"))[0]
    return list(Peaks.of(read_mgf(str(path))))[:40]


@pytest.mark.parametrize(("difference", "sigma"), [(0.0, 0.01), (0.004, 0.01), (-90.0, 60.0), (600.0, 60.0)])
def test_ms1_and_retention_time_are_the_bell_curve_of_the_paper(difference, sigma):
    assert gaussian(difference, sigma) == pytest.approx(norm.pdf(difference / sigma) / norm.pdf(0), rel=1e-12)


def test_cosine_is_the_greedy_one_of_matchms(real_spectra):
    ours, theirs = spectrum_similarity("cosine", 0.02), CosineGreedy(tolerance=0.02)
    compared = 0
    for first in real_spectra:
        for second in real_spectra[::4]:
            expected = theirs.pair(*(Spectrum(mz=peaks[:, 0], intensities=peaks[:, 1]) for peaks in (first, second)))
            found = ours.compare(ours.prepare(first), ours.prepare(second))
            assert found == pytest.approx(float(expected["score"]), abs=1e-9)
            compared += 0.05 < found < 0.95
    assert compared > 20  # not only equal and disjoint ones


def test_entropy_is_that_of_ms_entropy_with_its_own_cleaning(real_spectra):
    ours = spectrum_similarity("entropy", 0.02)
    compared = 0
    for first in real_spectra:
        for second in real_spectra[::4]:
            expected = calculate_entropy_similarity(first, second, ms2_tolerance_in_da=0.02)
            found = ours.compare(ours.prepare(first), ours.prepare(second))
            assert found == pytest.approx(expected, abs=1e-5)
            compared += 0.05 < found < 0.95
    assert compared > 20


def test_entropy_similarity_is_the_formula_of_li_et_al():
    """1 - (2 S(AB) - S(A) - S(B)) / ln 4, after intensities of spectra with S < 3 are raised to 0.25 + 0.25 S."""

    def weighted(intensity: np.ndarray) -> np.ndarray:
        spread = entropy(intensity)
        powered = (intensity / intensity.sum()) ** (0.25 + 0.25 * spread if spread < 3 else 1.0)
        return powered / powered.sum()

    mz = np.array([80.0, 120.0, 250.0])
    one, other = np.array([3.0, 1.0, 6.0]), np.array([1.0, 1.0, 2.0])
    ours = spectrum_similarity("entropy", 0.02)
    found = ours.compare(*(ours.prepare(np.column_stack([mz, values])) for values in (one, other)))
    first, second = weighted(one), weighted(other)
    lost = 2 * entropy((first + second) / 2) - entropy(first) - entropy(second)
    assert found == pytest.approx(1 - lost / np.log(4), abs=1e-6)


@pytest.mark.parametrize("name", ["cosine", "entropy"])
def test_comparing_leaves_prepared_spectra_as_they_are_and_stays_between_0_and_1(name):
    """They are prepared once and compared thousands of times; low entropy is where ms_entropy weighs intensities."""
    ours = spectrum_similarity(name, 0.02)
    rng = np.random.default_rng(0)
    spectra = [np.column_stack([rng.uniform(50, 60, size), rng.exponential(1, size)]) for size in (1, 2, 5, 40)]
    prepared = [ours.prepare(peaks) for peaks in spectra]
    before = [peaks.copy() for peaks in prepared]
    found = np.array([[ours.compare(first, second) for second in prepared] for first in prepared])
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-6)
    for peaks, copy in zip(prepared, before, strict=True):
        np.testing.assert_array_equal(peaks, copy)


@pytest.mark.parametrize("name", ["cosine", "entropy"])
def test_unsorted_zero_and_no_peaks(name):
    ours = spectrum_similarity(name, 0.02)
    peaks = np.array([[200.0, 1.0], [100.0, 3.0], [150.0, 0.0]])
    assert ours.compare(ours.prepare(peaks), ours.prepare(peaks[[1, 0]])) == pytest.approx(1)
    assert ours.compare(ours.prepare(peaks), ours.prepare(peaks[2:])) == 0
    assert ours.compare(ours.prepare(np.zeros((0, 2))), ours.prepare(peaks)) == 0
