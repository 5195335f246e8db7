"""Metrics against scikit-learn, ties and absent classes included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn import metrics as sk

from ms2img.learn.metrics import binary_metrics, bootstrap_auc, roc_auc, roc_curve

# Few distinct scores, so that ties within and across classes are the rule; 0.5 lies on the threshold.
SCORED = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))),
    min_size=1,
    max_size=40,
).map(lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True)))
BOTH_CLASSES = SCORED.filter(lambda scored: len(set(scored[0].tolist())) == 2)


@given(SCORED)
def test_counts_and_quotients_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = scored
    found = binary_metrics(target, score)
    called = (score >= 0.5).astype(int)
    assert [found.tn, found.fp, found.fn, found.tp] == sk.confusion_matrix(
        target, called, labels=[0, 1]
    ).ravel().tolist()
    assert found.n == len(target)
    assert found.accuracy == pytest.approx(sk.accuracy_score(target, called))
    assert found.precision == pytest.approx(sk.precision_score(target, called, zero_division=0))
    assert found.recall == pytest.approx(sk.recall_score(target, called, zero_division=0))
    assert found.f1 == pytest.approx(sk.f1_score(target, called, zero_division=0))


@given(BOTH_CLASSES)
def test_auc_and_curve_equal_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = scored
    assert roc_auc(target, score) == pytest.approx(sk.roc_auc_score(target, score), abs=1e-12)
    for ours, theirs in zip(
        roc_curve(target, score), sk.roc_curve(target, score, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_no_auc(target: list[int]) -> None:
    found = binary_metrics(np.array(target), np.array([0.2, 0.6, 0.6]))
    assert math.isnan(found.roc_auc)
    fpr, tpr, _ = roc_curve(np.array(target), np.array([0.2, 0.6, 0.6]))
    absent, present = (tpr, fpr) if target[0] == 0 else (fpr, tpr)
    assert np.isnan(absent).all()
    np.testing.assert_allclose(present, [0, 2 / 3, 1])


def test_threshold_is_an_option() -> None:
    found = binary_metrics(np.array([0, 1, 1]), np.array([0.1, 0.3, 0.9]), threshold=0.3)
    assert (found.tn, found.fp, found.fn, found.tp) == (1, 0, 0, 2)


@pytest.mark.parametrize(
    ("target", "score", "told"),
    [
        ([], [], "vectors of one length"),
        ([0, 1], [0.5], r"\(2,\) and score \(1,\)"),
        ([0, -1], [0.5, 0.5], "found \\[-1\\]"),
        ([0, 1], [0.5, math.nan], "1 of 2 scores are not finite"),
    ],
)
def test_wrong_input_is_refused(target: list[int], score: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        binary_metrics(np.array(target), np.array(score))


@given(BOTH_CLASSES, st.integers(0, 5))
def test_bootstrap_equals_one_that_repeats_examples(scored: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    target, score = scored
    found = bootstrap_auc(target, score, resamples=40, seed=seed)
    times = np.random.default_rng(seed).multinomial(len(target), np.full(len(target), 1 / len(target)), size=40)
    aucs = np.array([roc_auc(np.repeat(target, drawn), np.repeat(score, drawn)) for drawn in times])
    defined = aucs[np.isfinite(aucs)]
    assert (found.resamples, found.degenerate) == (40, 40 - len(defined))
    assert found.auc == roc_auc(target, score)
    expected = np.quantile(defined, [0.025, 0.975]) if len(defined) else [np.nan, np.nan]
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-12)


def test_bootstrap_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 40)
    score = np.round(target * 0.8 + rng.normal(size=40), 1)  # with ties
    found = bootstrap_auc(target, score, resamples=9000, seed=1)
    interval = bootstrap(
        (target, score), roc_auc, paired=True, vectorized=False, n_resamples=9000, method="percentile", rng=2
    ).confidence_interval
    assert found.low == pytest.approx(interval.low, abs=0.015)
    assert found.high == pytest.approx(interval.high, abs=0.015)
    assert found.low < found.auc < found.high


def test_bootstrap_of_a_perfect_and_of_an_impossible_ranking() -> None:
    perfect = bootstrap_auc(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9]))
    assert (perfect.auc, perfect.low, perfect.high) == (1, 1, 1)
    assert perfect.degenerate > 0  # of three examples, a third of the resamples has one class only
    one_class = bootstrap_auc(np.ones(3, dtype=int), np.arange(3.0))
    assert one_class.degenerate == one_class.resamples
    assert all(math.isnan(value) for value in (one_class.auc, one_class.low, one_class.high))
