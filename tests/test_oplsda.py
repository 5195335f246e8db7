"""OPLS-DA: what Trygg and Wold's mathematics promises, and scikit-learn's PLS and SVD as independent oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA

from ms2img.ms2toimg.baselines.oplsda import OplsDa
from ms2img.ms2toimg.baselines.pca import Pca


def study(seed: int, n: int = 40, features: int = 60, shift: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a class difference and strong variation beside it, and their target."""
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    beside = rng.normal(size=(n, 3)) @ rng.normal(size=(3, features))
    return rng.normal(size=(n, features)) + beside + shift * np.outer(target, rng.normal(size=features)), target


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    orthogonal=st.integers(0, 5),
    shape=st.sampled_from([(40, 60), (30, 200), (60, 12)]),
)
def test_predicts_as_a_pls_of_one_component_more(seed, orthogonal, shape):
    rows, target = study(seed, *shape)
    train, test = slice(0, -8), slice(-8, None)
    pls = PLSRegression(orthogonal + 1, scale=False).fit(rows[train], target[train].astype(float))
    oplsda = OplsDa(orthogonal).fit(rows[train], target[train])
    np.testing.assert_allclose(oplsda.predict(rows[test]), pls.predict(rows[test]).ravel(), rtol=1e-6, atol=1e-8)
    fitted = pls.predict(rows[train]).ravel()
    deviation = target[train] - target[train].mean()
    r2y = 1 - np.sum((target[train] - fitted) ** 2) / np.sum(deviation**2)
    assert oplsda.r2y == pytest.approx(r2y, abs=1e-9)


@pytest.mark.parametrize("shape", [(40, 60), (60, 12)])
def test_orthogonal_scores_are_uncorrelated_with_the_target_and_with_each_other(shape):
    rows, target = study(1, *shape)
    oplsda = OplsDa(4).fit(rows, target)
    assert oplsda.t_orthogonal.shape == (shape[0], 4)
    scores = np.column_stack([oplsda.t_orthogonal, oplsda.t_predictive, target - target.mean()])
    correlation = np.corrcoef(scores, rowvar=False)
    assert np.abs(correlation[:4, :4] - np.eye(4)).max() < 1e-8
    assert np.abs(correlation[:4, 4:]).max() < 1e-8
    assert correlation[4, 5] > 0.5  # the predictive score is the one that goes with the target


def test_the_components_add_up_to_the_rows():
    """R2X is what the sum of scores x loadings leaves unexplained, taken from 1: the scores are orthogonal."""
    rows, target = study(2)
    oplsda = OplsDa(3).fit(rows, target)
    centred = rows - rows.mean(axis=0)
    left = centred - np.outer(oplsda.t_predictive, oplsda.p_predictive) - oplsda.t_orthogonal @ oplsda.p_orthogonal.T
    assert oplsda.r2x == pytest.approx(1 - np.sum(left**2) / np.sum(centred**2), abs=1e-9)
    assert 0 < oplsda.r2x_predictive < oplsda.r2x < 1


def test_scores_of_the_training_rows_are_the_fitted_ones():
    rows, target = study(3)
    oplsda = OplsDa(2).fit(rows, target)
    predictive, orthogonal = oplsda.scores(rows)
    np.testing.assert_allclose(predictive, oplsda.t_predictive, atol=1e-9)
    np.testing.assert_allclose(orthogonal, oplsda.t_orthogonal, atol=1e-9)
    swapped = OplsDa(2).fit(rows, 1 - target)  # the other class active: the same model, mirrored
    np.testing.assert_allclose(swapped.predict(rows), 1 - oplsda.predict(rows), atol=1e-9)


def test_no_more_components_than_there_is_variation():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 30))  # of rank two: one predictive, one orthogonal
    target = np.arange(20) % 2
    oplsda = OplsDa(5).fit(rows, target)
    assert oplsda.t_orthogonal.shape == (20, 1)
    assert oplsda.r2x == pytest.approx(1)
    assert np.isfinite(oplsda.predict(rows)).all()


@pytest.mark.parametrize(
    ("rows", "target"),
    [(np.ones((6, 4)), [0, 1, 0, 1, 0, 1]), (np.random.default_rng(0).normal(size=(6, 4)), [1, 1, 1, 1, 1, 1])],
)
def test_nothing_to_fit_is_told(rows, target):
    with pytest.raises(ValueError, match=r"nothing to fit|expected two classes"):
        OplsDa(1).fit(rows, np.array(target))


@pytest.mark.parametrize("shape", [(40, 60), (60, 12)])
def test_principal_components_are_those_of_scikit_learn_up_to_sign(shape):
    rows, _ = study(5, *shape)
    ours, theirs = Pca().fit(rows[:-5]), PCA(2).fit(rows[:-5])
    sign = np.sign(np.sum(ours.loadings * theirs.components_.T, axis=0))
    np.testing.assert_allclose(ours.loadings * sign, theirs.components_.T, atol=1e-9)
    np.testing.assert_allclose(ours.scores * sign, theirs.transform(rows[:-5]), atol=1e-8)
    np.testing.assert_allclose(ours.project(rows[-5:]) * sign, theirs.transform(rows[-5:]), atol=1e-8)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, atol=1e-12)
    assert (ours.loadings[np.abs(ours.loadings).argmax(axis=0), [0, 1]] > 0).all()


def test_a_second_component_that_is_rounding_is_none():
    rng = np.random.default_rng(6)
    for n, f in ((30, 40), (40, 30)):
        line = np.outer(rng.normal(size=n), rng.normal(size=f)) + 5  # of rank one about its mean
        found = Pca().fit(line)
        np.testing.assert_allclose(np.abs(found.scores[:, 0]), np.linalg.norm(line - line.mean(axis=0), axis=1))
        assert not found.scores[:, 1].any()
        np.testing.assert_allclose(found.explained, [1, 0], atol=1e-12)
    assert not Pca().fit(np.ones((5, 3))).scores.any()


def test_two_components_need_two_features():
    with pytest.raises(ValueError, match="two features"):
        Pca().fit(np.ones((5, 1)))
