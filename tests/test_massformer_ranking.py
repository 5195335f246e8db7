"""Ranks of the true structure among candidates, against a loop that sorts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ms2img.massformer.evaluate.ranking import Ranks, concatenated, order_of, rank_true


def _brute(query: np.ndarray, own: int, candidates: np.ndarray) -> float:
    """The mean rank of the true one among equals, from cosines in float64."""
    scores = []
    for each in candidates.astype(float):
        length = np.linalg.norm(each) * np.linalg.norm(query.astype(float))
        scores.append(round(float(each @ query.astype(float)) / length, 9) if length else 0.0)
    places = [place for place, score in enumerate(sorted(scores, reverse=True), 1) if score == scores[own]]
    return sum(places) / len(places)


def test_ranks_are_those_of_a_sorted_list_with_ties_at_their_mean() -> None:
    random = np.random.default_rng(0)
    candidates = random.integers(0, 3, (30, 5)).astype(np.float32)  # many equal directions, some empty
    distractors = random.integers(0, 3, (25, 5)).astype(np.float32)
    queries = random.integers(0, 4, (40, 5)).astype(np.float32)
    true = random.integers(0, 30, 40)
    ranks = rank_true(queries, true, candidates, distractors)
    everything = np.concatenate([candidates, distractors])
    expected = [_brute(query, own, everything) for query, own in zip(queries, true, strict=True)]
    assert ranks.rank == pytest.approx(expected)
    assert (ranks.n_candidates == 55).all()


def test_a_perfect_prediction_is_first_and_an_uninformative_one_is_in_the_middle() -> None:
    spectra = np.random.default_rng(1).random((50, 100)).astype(np.float32)
    nobody = np.empty((0, 100), np.float32)
    perfect = rank_true(spectra, np.arange(50), spectra, nobody)
    assert (perfect.rank == 1).all()
    assert perfect.normalised == pytest.approx(np.full(50, 1 / 50))
    assert (perfect.normalised_released == 0).all()
    assert perfect.top.all()
    same = rank_true(spectra, np.arange(50), np.ones_like(spectra), nobody)
    assert (same.rank == 25.5).all()
    assert same.normalised_released == pytest.approx(np.full(50, 0.5))
    assert not same.top.any()


def test_distractors_can_only_push_the_true_one_down() -> None:
    random = np.random.default_rng(2)
    queries, candidates, distractors = (random.random((n, 40)).astype(np.float32) for n in (20, 20, 60))
    without = rank_true(queries, np.arange(20), candidates, distractors[:0])
    with_them = rank_true(queries, np.arange(20), candidates, distractors)
    assert (with_them.rank >= without.rank).all()
    assert (with_them.rank > without.rank).any()


def test_the_first_five_percent_are_counted_from_the_rank_over_the_number() -> None:
    ranks = Ranks(np.array([1.0, 5.0, 5.5, 1.0]), np.array([100, 100, 100, 19]))
    assert ranks.top.tolist() == [True, True, False, False]  # the first of 19 is not within 5 % of 19


def test_a_single_candidate_is_no_division_by_zero() -> None:
    assert Ranks(np.array([1.0]), np.array([1])).normalised_released.tolist() == [0.0]


def test_parts_come_together_in_the_order_of_the_queries() -> None:
    parts = [
        (np.array([2, 0]), Ranks(np.array([3.0, 1.0]), np.array([9, 9]))),
        (np.array([1]), Ranks(np.array([2.0]), np.array([4]))),
    ]
    whole = concatenated(parts, 3)
    assert whole.rank.tolist() == [1, 2, 3]
    assert whole.n_candidates.tolist() == [9, 4, 9]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=20))
def test_order_gives_equals_the_mean_of_their_ranks(scores: list[float]) -> None:
    falling = sorted(scores, reverse=True)
    expected = [np.mean([place for place, each in enumerate(falling, 1) if each == score]) for score in scores]
    assert order_of(np.array(scores)).tolist() == expected
