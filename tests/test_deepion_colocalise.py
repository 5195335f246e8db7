"""Search for co-localised ions against scikit-learn's, and its precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from ms2img.deepion.approximate import nearest_approximately, recall
from ms2img.deepion.colocalise import BLOCK, nearest, precision_at_k, ranked, row_of_mz
from ms2img.errors import UsageError


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [6, BLOCK + 50])
def test_search_is_scikit_learns(metric: str, n: int) -> None:
    embedding = np.random.default_rng(n).random((n, 20)).astype(np.float32)
    found = nearest(embedding, top=5, metric=metric)
    model = NearestNeighbors(n_neighbors=5, algorithm="brute", metric=metric).fit(embedding.astype(np.float64))
    distances, rows = model.kneighbors()
    assert np.mean(found.rows == rows) > 0.999  # float32 may swap what differs by less than its rounding
    assert np.allclose(found.distances, distances, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(1, 4), st.integers(0, 2**32 - 1), st.data())
def test_ties_and_copies_are_found_in_order(n: int, d: int, seed: int, data: st.DataObject) -> None:
    embedding = np.random.default_rng(seed).integers(0, 3, (n, d)).astype(np.float32)
    top = data.draw(st.integers(1, n - 1))
    found = nearest(embedding, top=top)
    distances = cdist(embedding, embedding)
    np.fill_diagonal(distances, np.inf)
    assert np.allclose(found.distances, np.sort(distances, axis=1)[:, :top], atol=1e-5)
    assert np.allclose(np.take_along_axis(distances, found.rows, axis=1), found.distances, atol=1e-5)
    assert not (found.rows == np.arange(n)[:, None]).any()


def test_queries_are_some_rows() -> None:
    embedding = np.random.default_rng(0).random((30, 4))
    some = nearest(embedding, np.array([7, 2]), top=3)
    every = nearest(embedding, top=3)
    assert np.array_equal(some.rows, every.rows[[7, 2]])
    assert nearest(embedding, np.array([], int), top=3).rows.shape == (0, 3)


def test_near_copies_far_from_the_origin_keep_their_order() -> None:
    embedding = (1000 + np.arange(40)[:, None] * np.array([0.01, 0.0])).astype(np.float32)
    assert nearest(embedding, np.array([0]), top=4).rows.tolist() == [[1, 2, 3, 4]]


def test_wrong_questions_are_named() -> None:
    embedding = np.random.default_rng(0).random((5, 4))
    for arguments, message in (
        ({"top": 5}, "top: 5 of 5 ions; expected from 1 to 4"),
        ({"metric": "manhattan"}, "metric: 'manhattan'; expected one of euclidean, cosine"),
        ({"queries": np.array([5]), "top": 1}, "queries: rows 5 to 5; expected from 0 to 4"),
    ):
        with pytest.raises(UsageError, match=message):
            nearest(embedding, **arguments)
    with pytest.raises(UsageError, match="expected finite numbers"):
        nearest(np.full((5, 4), np.nan))
    with pytest.raises(UsageError, match="top: 0"):
        nearest_approximately(embedding, top=0)


def test_an_ion_is_found_by_its_mz() -> None:
    mz = np.array([213.902, 214.047, 701.509])
    assert row_of_mz(mz, 214.0470 * (1 + 9e-6), ppm=10) == 1
    with pytest.raises(UsageError, match=r"m/z 500 has no ion image within 10 ppm; the nearest is 701\.50900"):
        row_of_mz(mz, 500.0, ppm=10)
    with pytest.raises(UsageError, match="no ion images"):
        row_of_mz(mz[:0], 500.0, ppm=10)


def test_precision_is_the_share_of_the_same_class() -> None:
    labels = np.array(["a", "a", "a", "b", "b", "c"])
    neighbours = np.array([[1, 2], [0, 3], [3, 4], [4, 0], [3, 5], [0, 1]])
    # a: 2/2, 1/2, 0/2; b has one other each: 1/1, 1/1; c has none and is left out.
    assert precision_at_k(neighbours, labels) == pytest.approx((1 + 0.5 + 0 + 1 + 1) / 5)
    assert np.isnan(precision_at_k(np.array([[1], [0]]), np.array([1, 2])))
    with pytest.raises(ValueError, match="neighbours of 6 ions, but 5 labels"):
        precision_at_k(neighbours, labels[:5])


def test_similarities_are_ranked_without_the_ion_itself() -> None:
    similarity = np.array([[1.0, 0.2, 0.9], [0.2, 1.0, 0.2], [0.9, 0.3, 1.0]])
    assert ranked(similarity, top=2).tolist() == [[2, 1], [0, 2], [0, 1]]
    assert similarity[0, 0] == 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_approximate_search_finds_nearly_all(metric: str) -> None:
    embedding = np.random.default_rng(0).random((9000, 6)).astype(np.float32)
    true = nearest(embedding, top=5, metric=metric)
    found = nearest_approximately(embedding, top=5, metric=metric)
    assert 0.95 < recall(found.rows, true.rows) < 1
    whole = nearest_approximately(embedding, top=5, metric=metric, probes=9000)
    assert np.array_equal(whole.rows, true.rows)
    assert not (found.rows == np.arange(9000)[:, None]).any()
    same = found.rows == true.rows
    assert np.allclose(found.distances[same], true.distances[same], atol=1e-4)
    assert recall(true.rows[:, ::-1], true.rows) == 1
    assert recall(np.array([[1, 2]]), np.array([[2, 3]])) == 0.5


def test_approximate_search_widens_until_it_has_enough() -> None:
    embedding = np.repeat(np.eye(4, dtype=np.float32), [800, 3, 2, 1], axis=0)
    found = nearest_approximately(embedding, top=5, probes=1)
    assert np.array_equal(found.distances, nearest(embedding, top=5).distances)
