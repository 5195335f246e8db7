"""Mean peak m/z over collision energies, against SciPy and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from ms2img.massformer.evaluate.energy_curve import energy_curve, mean_mz, rank_correlation


def test_mean_mz_weights_bin_middles_by_intensity() -> None:
    spectra = np.zeros((3, 100), np.float32)
    spectra[0, 10] = 3
    spectra[1, [20, 40]] = [3, 1]
    found = mean_mz(spectra, bin_width=0.5)
    assert found[:2].tolist() == [5.25, (3 * 10.25 + 20.25) / 4]
    assert math.isnan(found[2])
    assert mean_mz(spectra[:2] * 7, bin_width=0.5) == pytest.approx(found[:2])  # only relative intensity counts


def test_curve_has_medians_and_quartiles_of_equal_steps_and_keeps_equal_energies_together() -> None:
    energy = np.repeat([10.0, 20.0, 40.0, 80.0], [5, 50, 30, 15])
    value = 400 - energy + np.random.default_rng(0).normal(0, 5, 100)
    curve = energy_curve(np.r_[energy, np.nan, 10.0], np.r_[value, 1.0, np.nan])
    assert curve.n.sum() == 100
    assert (np.diff(curve.median) < 0).all()
    assert (curve.low <= curve.median).all()
    assert (curve.median <= curve.high).all()
    for each, median in zip(curve.energy, curve.median, strict=True):
        if each in (20.0, 40.0, 80.0):
            assert median == pytest.approx(np.median(value[energy == each]))
    assert len(energy_curve(np.full(3, np.nan), np.ones(3)).energy) == 0


def test_rank_correlation_is_that_of_scipy() -> None:
    random = np.random.default_rng(1)
    first, second = random.integers(0, 6, 50).astype(float), random.integers(0, 9, 50).astype(float)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    first[3] = np.nan
    kept = np.isfinite(first)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first[kept], second[kept]).statistic)
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
