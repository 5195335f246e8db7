"""Preprocessing: values by hand, and that nothing of a test row is ever looked at."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from ms2img.ms2toimg.baselines.models import DEFAULTS, WORDS
from ms2img.ms2toimg.baselines.preprocessing import Preprocessing, fit_preprocessing

TRAIN = np.array([[2.0, 0.0, 2.0], [1.0, 3.0, 4.0], [6.0, 6.0, 0.0]])  # totals 4, 8, 12: the median is 8


def prepared(amounts: np.ndarray, **options: object) -> np.ndarray:
    return fit_preprocessing(Preprocessing(**options), TRAIN).apply(amounts)


def test_values_by_hand():
    test = np.array([[1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(prepared(test), test)
    np.testing.assert_allclose(prepared(test, rows="tic"), [[2, 2, 4]])
    np.testing.assert_allclose(prepared(TRAIN, imputation="half-minimum"), [[2, 1.5, 2], [1, 3, 4], [6, 6, 1]])
    np.testing.assert_allclose(prepared(test, transform="log1p"), np.log([[2, 2, 3]]))
    logs = prepared(np.array([[10.0, 0, 100]]), imputation="half-minimum", transform="log")
    np.testing.assert_allclose(logs, [[1, np.log10(1.5), 2]])
    np.testing.assert_allclose(prepared(test, min_samples=3), [[1]])  # only the first feature is in all three
    sd = TRAIN.std(axis=0, ddof=1)
    np.testing.assert_allclose(prepared(test, scale="unit"), (test - [3, 3, 2]) / sd)
    np.testing.assert_allclose(prepared(test, scale="pareto"), (test - [3, 3, 2]) / np.sqrt(sd))


def test_rows_are_brought_to_one_total_before_rare_features_are_gone():
    """Whether a feature is rare elsewhere does not change a run's total."""
    found = fit_preprocessing(Preprocessing(rows="tic", min_samples=3), TRAIN).apply(TRAIN)
    np.testing.assert_allclose(found, [[4], [1], [4]])


def test_where_no_feature_is_left_it_is_told():
    with pytest.raises(ValueError, match="none of 3 features is in 9 training rows or more"):
        fit_preprocessing(Preprocessing(min_samples=9), TRAIN)


def test_a_constant_feature_is_0_also_where_a_test_row_differs():
    train = np.array([[0.1 + 0.2, 1.0, 0.0], [0.3, 2.0, 0.0], [0.3, 4.0, 0.0]])  # the first differs by rounding
    fitted = fit_preprocessing(Preprocessing(imputation="half-minimum", transform="log", scale="unit"), train)
    found = fitted.apply(np.array([[5.0, 2.0, 7.0]]))
    np.testing.assert_array_equal(found[:, [0, 2]], [[0.0, 0.0]])
    assert np.isfinite(found).all()


@settings(max_examples=30, deadline=None)
@example(test=np.full((2, 3), 5e-324), name="logistic")
@given(
    test=arrays(np.float64, (2, 3), elements=st.floats(0, 1e9)),
    name=st.sampled_from([*DEFAULTS, "words"]),
)
def test_test_rows_change_nothing_that_is_fitted(test, name):
    """Fitting looks at the training rows it is given; applying to any test rows leaves what was fitted as it was."""
    config = WORDS if name == "words" else DEFAULTS[name]
    fitted = fit_preprocessing(config, TRAIN)
    before = {key: np.copy(value) for key, value in vars(fitted).items() if isinstance(value, np.ndarray)}
    alone, together = fitted.apply(test), fitted.apply(np.vstack([test, TRAIN]))
    np.testing.assert_array_equal(together[:2], alone)
    np.testing.assert_array_equal(together[2:], fitted.apply(TRAIN))
    assert np.isfinite(together).all()
    for key, value in before.items():
        np.testing.assert_array_equal(getattr(fitted, key), value)


def test_sparse_counts_stay_sparse_and_equal_dense_ones():
    counts = np.array([[4.0, 0, 1, 0], [0, 0, 3, 1], [2.0, 2, 0, 0]])
    dense, sparse = (fit_preprocessing(WORDS, rows).apply(rows) for rows in (counts, sp.csr_matrix(counts)))
    assert sp.issparse(sparse)
    np.testing.assert_allclose(sparse.toarray(), dense)
    assert dense.shape == (3, 2)  # words of one run alone are dropped


def test_a_logarithm_wants_an_imputation():
    with pytest.raises(ValidationError, match="needs imputation"):
        Preprocessing(transform="log")
