"""Metrics against scikit-learn, ties and absent classes included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from ms2img.learn.metrics import binary_metrics, roc_auc, roc_curve

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
