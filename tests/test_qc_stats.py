"""The statistics of quality control against SciPy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.decomposition import PCA

from ms2img.learn.distributions import beta_cdf, beta_quantile
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_pca import fit_pca, q_limit, t2_limit, top_eigen
from ms2img.ms2toimg.qc_profiles import MOST_PIXELS, grey_totals, profiles
from ms2img.ms2toimg.qc_stats import chi2_quantile, ranks, robust_z, spearman, theil_sen

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(arrays(np.float64, st.integers(1, 30), elements=NUMBERS))
def test_robust_z_is_the_distance_in_scaled_mads(values):
    z = robust_z(values)
    mad = stats.median_abs_deviation(values, scale="normal")
    if mad > 0:
        np.testing.assert_allclose(z, (values - np.median(values)) / mad, rtol=1e-4, atol=1e-9)
    else:
        assert ((z == 0) == (values == np.median(values))).all()


def test_robust_z_grants_a_least_spread():
    assert robust_z(np.array([1.0, 1, 1, 1.1]), least_sd=0.1)[-1] == pytest.approx(1.0)


@given(arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([0.0, 1, 2, 3, 4.5])))
def test_ranks_are_scipys(values):
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))


@pytest.mark.parametrize("n", [9, 20, 300])
def test_spearman_and_theil_sen_are_scipys(n):
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, n, n).astype(float), rng.normal(size=n)
    expected = stats.spearmanr(x, y)
    assert spearman(x, y) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    line = stats.theilslopes(y, x)
    assert theil_sen(x, y) == pytest.approx((line.slope, line.intercept), rel=1e-9)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_p_of_few_values_is_exact(n):
    rng = np.random.default_rng(n)
    x, y = np.arange(n, dtype=float), rng.normal(size=n)
    exact = stats.permutation_test(
        (x,), lambda each: stats.spearmanr(each, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    rho, p = spearman(x, y)
    # SciPy doubles the smaller tail; by symmetry that is both tails.
    assert (rho, p) == pytest.approx((exact.statistic, exact.pvalue), rel=1e-9)


def test_four_runs_are_too_few_for_any_p_below_a_twentieth():
    assert spearman(np.arange(4.0), np.arange(4.0))[1] == pytest.approx(2 / 24)


def test_what_does_not_vary_has_no_trend():
    assert all(
        math.isnan(value) for value in (*spearman(np.ones(9), np.arange(9.0)), *theil_sen(np.ones(3), np.ones(3)))
    )


@given(st.floats(0, 1), st.floats(0.5, 200), st.floats(0.5, 200))
def test_incomplete_beta_is_scipys(x, a, b):
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-12)


@given(st.floats(0.01, 0.999), st.floats(0.5, 60), st.floats(0.5, 5000))
def test_beta_quantile_is_scipys(p, a, b):
    assert beta_quantile(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-6)


@pytest.mark.parametrize("p", [0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("degrees", [3, 7.5, 40, 800])
def test_chi2_quantile_is_within_two_hundredths_of_scipys(p, degrees):
    assert chi2_quantile(p, degrees) == pytest.approx(stats.chi2.ppf(p, degrees), rel=0.02)


@pytest.mark.parametrize(("height", "width"), [(75, 70), (150, 140), (61, 83), (300, 280)])
def test_a_profile_is_the_root_of_block_means_at_length_one(height, width):
    images = np.random.default_rng(0).integers(0, 256, (3, height, width)).astype(np.uint8)
    images[1] = 0
    images[2, 5:, :] = 0
    found = profiles(images)
    side = next(side for side in range(1, 9) if -(-height // side) * -(-width // side) <= MOST_PIXELS)
    for image, row in zip(images, found, strict=True):
        blocks = [
            np.sqrt(image[y : y + side, x : x + side].sum())
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]
        length = np.linalg.norm(blocks)
        np.testing.assert_allclose(row, np.array(blocks) / (length or 1), rtol=1e-5)
    np.testing.assert_allclose(grey_totals(images), images.sum(axis=(1, 2)) / 255)


def clouds(n: int, pixels: int) -> np.ndarray:
    """Rows with a falling spectrum of variances, not centred."""
    rng = np.random.default_rng(3)
    low = rng.normal(size=(n, 12)) * np.geomspace(10, 1, 12)
    return (low @ rng.normal(size=(12, pixels)) + rng.normal(0, 1, (n, pixels)) + 5).astype(np.float32)


@pytest.mark.parametrize(("n", "pixels"), [(60, 300), (300, 60), (300, 2000)], ids=["wide", "tall", "iterated"])
def test_pca_is_scikit_learns(n, pixels):
    rows = clouds(n, pixels)
    others = np.arange(n) % 7 == 0  # blanks and QC runs: placed, not fitted
    found = fit_pca(rows, ~others, QcLimits(components=5))
    assert found is not None
    model = PCA(5, svd_solver="full").fit(rows[~others].astype(np.float64))
    scores = model.transform(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(found.scores), np.abs(scores), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.explained, model.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(found.t2, (scores**2 / model.explained_variance_).sum(axis=1), rtol=1e-4)
    residual = rows - model.inverse_transform(scores)
    np.testing.assert_allclose(found.q, (residual**2).sum(axis=1), rtol=1e-4)

    everything = PCA(svd_solver="full").fit(rows[~others].astype(np.float64)).explained_variance_[5:]
    g, h = (everything**2).sum() / everything.sum(), everything.sum() ** 2 / (everything**2).sum()
    assert found.q_limit == pytest.approx(g * stats.chi2.ppf(0.99, h), rel=0.01)


def test_limits_name_the_stated_share_of_normal_samples():
    rng = np.random.default_rng(5)
    n, k, pixels = 4000, 3, 40
    scale = np.r_[9.0, 6, 4, np.full(pixels - k, 1.0)]
    rows = (rng.normal(size=(n, pixels)) * scale).astype(np.float32)
    found = fit_pca(rows, np.ones(n, dtype=bool), QcLimits(components=k, confidence=0.95))
    assert found is not None
    sd = math.sqrt(0.05 * 0.95 / n)
    assert (found.t2 > found.t2_limit).mean() == pytest.approx(0.05, abs=4 * sd)
    assert (found.q > found.q_limit).mean() == pytest.approx(0.05, abs=4 * sd)
    a, b = found.ellipse(0.95)
    assert ((found.scores[:, 0] / a) ** 2 + (found.scores[:, 1] / b) ** 2 > 1).mean() == pytest.approx(0.05, abs=4 * sd)


def test_t2_limit_tends_to_chi_squared():
    assert t2_limit(100_000, 5, 0.99) == pytest.approx(stats.chi2.ppf(0.99, 5), rel=1e-3)
    assert q_limit(0.0, 0.0, 0.99) == 0


def test_iterated_eigenvectors_are_those_of_the_full_decomposition():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(400, 400)))[0]
    square = (basis * np.linspace(1, 0, 400) ** 2) @ basis.T  # close eigenvalues: the slow case
    values, vectors = top_eigen(square, 5)
    np.testing.assert_allclose(values, (np.linspace(1, 0, 400) ** 2)[:5], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.einsum("ij,ij->j", vectors, basis[:, :5])), 1, atol=1e-4)


@pytest.mark.parametrize("rows", [np.ones((30, 50), np.float32), clouds(9, 50)], ids=["all the same", "too few"])
def test_no_model_of_nothing(rows):
    assert fit_pca(rows, np.ones(len(rows), dtype=bool), QcLimits()) is None
