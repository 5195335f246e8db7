"""Paired comparison over folds: against SciPy, formulas written out, and random data in overlapping folds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ms2img.learn.compare import corrected_resampled_t, holm
from ms2img.learn.distributions import t_bound, t_two_sided
from ms2img.learn.splits import stratified_group_folds

METRICS = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(st.tuples(METRICS, METRICS), min_size=2, max_size=20))
def test_without_correction_it_is_scipys_paired_t_test(pairs):
    a, b = np.array(pairs).T
    found = corrected_resampled_t(a, b, test_to_train=0.0)
    if np.ptp(a - b) <= 1e-6:  # SciPy itself warns of lost precision there
        return
    expected = stats.ttest_rel(a, b)
    assert found.t == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert (found.df, found.n) == (len(pairs) - 1, len(pairs))


@pytest.mark.parametrize(("repeats", "folds"), [(1, 5), (3, 5), (10, 10)])
def test_the_correction_is_that_of_bouckaert_and_frank(repeats, folds):
    rng = np.random.default_rng(repeats)
    a, b = rng.uniform(0.6, 1, (2, repeats * folds))
    found = corrected_resampled_t(a, b, test_to_train=1 / (folds - 1))
    n, differences = repeats * folds, a - b
    variance = np.sum((differences - differences.mean()) ** 2) / (n - 1)
    t = differences.mean() / np.sqrt((1 / n + 1 / (folds - 1)) * variance)
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), n - 1))
    half = stats.t.ppf(0.975, n - 1) * differences.mean() / t
    assert (found.low, found.high) == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert (found.mean_a, found.mean_b, found.difference) == pytest.approx((a.mean(), b.mean(), differences.mean()))


def test_undefined_folds_are_left_out_of_both():
    a, b = np.array([0.9, np.nan, 0.8, 0.7, 0.95]), np.array([0.8, 0.1, np.nan, 0.65, 0.7])
    found = corrected_resampled_t(a, b, test_to_train=0.25)
    assert found == corrected_resampled_t(a[[0, 3, 4]], b[[0, 3, 4]], test_to_train=0.25)
    assert found.n == 3
    assert found.mean_a == pytest.approx((0.9 + 0.7 + 0.95) / 3)


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_the_same_difference_in_every_fold_has_no_p(apart):
    b = np.array([0.6, 0.7, 0.8, 0.55])
    found = corrected_resampled_t(b + apart, b, test_to_train=0.25)  # differs by rounding errors only
    assert found.difference == pytest.approx(apart)
    assert all(math.isnan(value) for value in (found.t, found.p, found.low, found.high))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_folds_have_no_p(n):
    found = corrected_resampled_t(np.full(n, 0.9), np.full(n, 0.5), test_to_train=0.25)
    assert (found.n, found.df) == (n, 0)
    assert math.isnan(found.p)
    assert math.isnan(found.low)
    assert math.isnan(found.mean_a) == (n == 0)


def test_shapes_and_ratio_are_checked():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        corrected_resampled_t(np.zeros(2), np.zeros(3), test_to_train=0.2)
    for ratio in (-0.1, math.nan):
        with pytest.raises(ValueError, match="test_to_train"):
            corrected_resampled_t(np.zeros(2), np.zeros(2), test_to_train=ratio)


def test_false_positives_on_random_data_are_near_5_percent_where_the_plain_test_has_many():
    """Two equally bad learners: nearest class mean on one of two features that say nothing of the labels."""
    rng = np.random.default_rng(0)
    target, names = np.arange(60) % 2, np.array([f"a{i:02d}" for i in range(60)])
    studies, repeats, folds = 400, 5, 5
    features = rng.normal(size=(studies, 60, 2))
    accuracy = []
    for split in (each for seed in range(repeats) for each in stratified_group_folds(target, names, folds, seed=seed)):
        train = np.concatenate([split.train, split.validation])
        low, high = (features[:, train[target[train] == value]].mean(axis=1, keepdims=True) for value in (0, 1))
        called = np.abs(features[:, split.test] - high) < np.abs(features[:, split.test] - low)
        accuracy.append((called == (target[split.test] == 1)[:, None]).mean(axis=1))
    first, second = np.moveaxis(np.array(accuracy), 0, 1).transpose(2, 0, 1)
    rate = {
        ratio: np.mean(
            [corrected_resampled_t(a, b, test_to_train=ratio).p < 0.05 for a, b in zip(first, second, strict=True)]
        )
        for ratio in (0.0, 1 / (folds - 1))
    }
    assert 0.02 < rate[0.25] < 0.09
    assert rate[0.0] > 0.3


@given(st.floats(-60, 60), st.integers(1, 200))
def test_t_is_scipys(t, df):
    assert t_two_sided(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-7, abs=1e-300)


@given(st.floats(0.5, 0.999), st.integers(1, 2000))
def test_t_bound_is_scipys(confidence, df):
    assert t_bound(confidence, df) == pytest.approx(stats.t.ppf((1 + confidence) / 2, df), rel=1e-7)


def test_holm_by_hand():
    # 0.01 x 4, then the larger of that and 0.02 x 3, 0.03 x 2, 0.04 x 1: none may be below its predecessor.
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    with_nan = holm([0.02, math.nan, 0.03])
    assert with_nan[[0, 2]].tolist() == pytest.approx([0.04, 0.04])
    assert math.isnan(with_nan[1])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(values, level):
    rejected, left = set(), sorted(range(len(values)), key=lambda i: values[i])
    while left and values[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    corrected = holm(values)
    assert {i for i in range(len(values)) if corrected[i] <= level} == rejected
