"""Similarities that are not learned, and the linear probe, against scipy, scikit-learn and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import cdist
from skimage.metrics import structural_similarity as skimage_ssim
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.manifold import trustworthiness
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from ms2img.deepion import measures
from ms2img.deepion.probe import leave_one_out
from ms2img.deepion.reduction import neighbour_embedding, principal_components
from ms2img.deepion.structure import structural_similarity
from ms2img.errors import UsageError

#: Rows without constant ones: scikit-learn and scipy have no answer, or a warning, for these.
ROWS = arrays(np.float64, (4, 9), elements=st.integers(0, 8).map(lambda v: v / 8), unique=False).filter(
    lambda rows: bool((rows.std(axis=1) > 0).all())
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """[7, 15, 20] in 0-1, two of them equal, and a blank one."""
    made = np.random.default_rng(0).random((7, 15, 20)).astype(np.float32) ** 3
    made[3] = made[2]
    made[5, :, 4:] = 0
    made[6] = 0
    return made


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_vector_measures_are_those_of_scipy_and_scikit_learn(rows: np.ndarray) -> None:
    assert np.allclose(measures.euclidean(rows), -cdist(rows, rows), atol=1e-6)
    assert np.allclose(measures.cosine(rows), cosine_similarity(rows), atol=1e-9)
    correlation = [[stats.pearsonr(a, b).statistic for b in rows] for a in rows]
    assert np.allclose(measures.pearson(rows), correlation, atol=1e-9)
    told = [[r2_score(a, b) for b in rows] for a in rows]
    assert np.allclose(measures.determination(rows), told, atol=1e-9)


def test_images_without_signal_have_an_answer() -> None:
    rows = np.array([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0.5]])
    assert measures.cosine(rows)[0].tolist() == [0, 0, 0, 0]
    assert measures.pearson(rows)[2].tolist() == [0, 0, 0, 0]
    assert measures.determination(rows)[0].tolist() == [1, 1, 0, 0]
    assert [r2_score(rows[0], rows[i]) for i in (1, 2)] == [1, 0]
    for wrong in (np.zeros(3), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="expected finite numbers"):
            measures.cosine(wrong)


def test_metaspaces_measure_is_its_definition(images: np.ndarray) -> None:
    filtered = []
    for image in images:
        kept = np.where(image < np.median(image), 0, image)
        padded = np.pad(kept, 1, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        filtered.append(np.median(windows, axis=(2, 3)).ravel())
    expected = cosine_similarity(np.stack(filtered))
    assert np.allclose(measures.median_thresholded_cosine(images), expected, atol=1e-6)


def test_structural_similarity_is_scikit_images(images: np.ndarray) -> None:
    ours = structural_similarity(images)
    expected = [[skimage_ssim(a, b, data_range=1.0) for b in images] for a in images]
    assert np.allclose(ours, expected, atol=2e-5)
    with pytest.raises(ValueError, match="of 7 pixels or more a side"):
        structural_similarity(images[:, :6])


@pytest.mark.slow  # t-SNE
def test_reductions_are_scikit_learns() -> None:
    rows = np.random.default_rng(1).random((30, 50))
    scores = principal_components(rows, seed=0)
    assert scores.shape == (30, 20)
    assert np.allclose(np.abs(scores), np.abs(PCA(20).fit_transform(rows)), atol=1e-8)
    assert principal_components(rows[:5], seed=0).shape == (5, 5)
    groups = 0.1 * rows[:24] + np.repeat([0, 3, -3], 8)[:, None]
    placed = neighbour_embedding(groups, seed=0)
    assert placed.shape == (24, 2)
    assert trustworthiness(groups, placed, n_neighbors=5) > 0.85
    assert np.array_equal(placed, neighbour_embedding(groups, seed=0))
    with pytest.raises(UsageError, match="t-SNE needs three or more"):
        neighbour_embedding(rows[:2], seed=0)


@pytest.mark.parametrize(("n", "d", "classes"), [(24, 5, 3), (20, 60, 4), (12, 3, 2)])
def test_probe_is_ridge_classification_left_one_out(n: int, d: int, classes: int) -> None:
    rng = np.random.default_rng(n)
    labels = np.array([f"class {c}" for c in np.arange(n) % classes])
    vectors = rng.standard_normal((n, d)) * rng.uniform(0.1, 9, d) + 2.0 * (np.arange(n) % classes)[:, None]
    probe = leave_one_out(vectors, labels)
    scaled = StandardScaler().fit_transform(vectors)
    expected = cross_val_predict(RidgeClassifier(alpha=1.0), scaled, labels, cv=LeaveOneOut())
    assert probe.predicted.tolist() == expected.tolist()
    assert probe.accuracy == np.mean(expected == labels)


def test_probe_tells_what_can_be_told_and_nothing_else() -> None:
    labels = np.arange(40) % 4
    assert leave_one_out(np.eye(4)[labels], labels).accuracy == 1
    assert leave_one_out(np.ones((40, 3)), labels).accuracy == 0  # a left-out class is the rarest: always another
    alone = leave_one_out(np.eye(3)[[0, 0, 0, 1, 1, 1, 2]], np.array([0, 0, 0, 1, 1, 1, 2]))
    assert alone.predicted[6] != 2
    for vectors, names, message in (
        (np.ones((3, 2)), np.zeros(3), "1 class"),
        (np.ones((3, 2)), np.zeros(4), "expected finite"),
        (np.array([[np.inf], [1]]), np.arange(2), "expected finite"),
    ):
        with pytest.raises(ValueError, match=message):
            leave_one_out(vectors, names)
