"""Similarity of spectra and what its mean is worth, against plain loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ms2img.learn.intervals import bootstrap_mean
from ms2img.massformer.evaluate.intervals import mean_over_seeds, paired_difference
from ms2img.massformer.evaluate.similarity import cosine, entropy_similarity, merged, molecule_scores

SPECTRA = arrays(np.float32, (4, 12), elements=st.floats(0, 1, width=16))


def _log(spectra: np.ndarray) -> np.ndarray:
    """The transform of the paper, written down again: x 1000, log10(x + 1) / 3, to a sum of 1."""
    logs = np.log10(np.float32(1000) * spectra / np.maximum(spectra.max(axis=1, keepdims=True), 1e-9) + 1) / 3
    return logs / np.maximum(logs.sum(axis=1, keepdims=True), 1e-9)


@settings(max_examples=50, deadline=None)
@given(SPECTRA, SPECTRA)
def test_cosine_is_the_products_over_the_lengths(first: np.ndarray, second: np.ndarray) -> None:
    for row, value in enumerate(cosine(first, second)):
        one, other = first[row].astype(float).tolist(), second[row].astype(float).tolist()
        length = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(y * y for y in other))
        expected = sum(x * y for x, y in zip(one, other, strict=True)) / length if length else 0.0
        assert value == pytest.approx(expected, abs=1e-6)


def test_cosine_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        cosine(np.ones((2, 3), np.float32), np.ones((3, 3), np.float32))


def test_entropy_similarity_is_that_of_the_definition() -> None:
    """Li et al. 2021: 1 - (2 S(AB) - S(A) - S(B)) / ln 4, spectra of an entropy below 3 weighted first."""
    random = np.random.default_rng(0)
    spectra = np.zeros((2, 40), np.float32)
    spectra[0, [3, 7, 20, 31]] = [1.0, 0.4, 0.2, 0.7]
    spectra[1, [3, 8, 20, 30]] = random.random(4) + 0.1

    def entropy(values: np.ndarray) -> float:
        values = values[values > 0]
        return float(-(values * np.log(values)).sum())

    def weighted(values: np.ndarray) -> np.ndarray:
        values = values.astype(float) / values.sum()
        own = entropy(values)
        values = values ** (0.25 + 0.25 * own) if own < 3 else values
        return values / values.sum()

    one, other = weighted(spectra[0]), weighted(spectra[1])
    expected = 1 - (2 * entropy((one + other) / 2) - entropy(one) - entropy(other)) / math.log(4)
    for width in (1.0, 0.1):
        assert entropy_similarity(spectra[:1], spectra[1:], bin_width=width)[0] == pytest.approx(expected, abs=1e-5)


def test_entropy_similarity_of_equal_far_and_empty_spectra() -> None:
    one = np.zeros((3, 100), np.float32)
    one[:2, 10], one[:2, 50] = 1, 0.5
    other = one.copy()
    other[1] = np.roll(other[1], 1)  # every peak in the next bin
    assert entropy_similarity(one, other, bin_width=1.0) == pytest.approx([1, 0, 0], abs=1e-6)


def test_merging_takes_the_mean_of_base_peak_scaled_spectra() -> None:
    spectra = np.array([[2, 4, 0], [1, 0, 1], [0, 0, 5], [0, 0, 0]], np.float32)
    assert merged(spectra, np.array([0, 0, 1, 1]), 2) == pytest.approx(np.array([[0.75, 0.5, 0.5], [0, 0, 0.5]]))


def test_molecule_scores_against_a_loop_over_molecules_and_groups() -> None:
    random = np.random.default_rng(1)
    predicted, real = (np.where(random.random((60, 50)) < 0.2, random.random((60, 50)), 0) for _ in range(2))
    molecules = [f"M{number}" for number in random.integers(0, 9, 60)]
    groups = [(random.choice(["[M+H]+", "[M+Na]+"]), random.choice(["QFT", "ITFT"])) for _ in range(60)]
    scores = molecule_scores(
        predicted.astype(np.float32),
        real.astype(np.float32),
        molecule_id=molecules,
        group=groups,
        transform=_log,
        bin_width=1.0,
    )
    assert list(scores.molecule_id) == sorted(set(molecules))
    for molecule, value, n_groups in zip(scores.molecule_id, scores.cosine, scores.n_groups, strict=True):
        own = sorted({group for name, group in zip(molecules, groups, strict=True) if name == molecule})
        values = []
        for group in own:
            rows = [row for row in range(60) if molecules[row] == molecule and groups[row] == group]
            pair = [
                np.mean([each[row] / max(each[row].max(), 1e-12) for row in rows], axis=0) for each in (predicted, real)
            ]
            one, other = (_log(each[None].astype(np.float32))[0].astype(float) for each in pair)
            values.append(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
        assert value == pytest.approx(np.mean(values), abs=1e-5)
        assert n_groups == len(own)
    alone = cosine(_log(predicted.astype(np.float32)), _log(real.astype(np.float32)))
    for molecule, value in zip(scores.molecule_id, scores.cosine_each, strict=True):
        assert value == pytest.approx(alone[[name == molecule for name in molecules]].mean(), abs=1e-5)


def test_merging_energies_differs_from_averaging_their_cosines() -> None:
    """A prediction that has the energies in the wrong order is right once they are merged: what merging hides."""
    real = np.eye(2, 4, dtype=np.float32)
    scores = molecule_scores(
        real[::-1].copy(), real, molecule_id=["M", "M"], group=[("a", "b")] * 2, transform=_log, bin_width=1.0
    )
    assert scores.cosine == pytest.approx([1.0])
    assert scores.cosine_each == pytest.approx([0.0])


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    """Of 95 % intervals of means of 60 normal values, about 95 % hold the true mean."""
    random = np.random.default_rng(2)
    covered = sum(
        interval.low <= 0.5 <= interval.high
        for interval in (bootstrap_mean(random.normal(0.5, 0.2, 60), seed=each) for each in range(200))
    )
    assert 180 <= covered <= 198


def test_bootstrap_is_repeatable_and_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(3).random(500)
    interval = bootstrap_mean(values)
    assert interval == bootstrap_mean(values.tolist())
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(500), rel=0.08)
    assert interval.mean == pytest.approx(values.mean())
    assert math.isnan(bootstrap_mean([]).mean)
    assert bootstrap_mean([]).n == 0


def test_paired_difference_sees_what_unpaired_intervals_hide() -> None:
    base = np.random.default_rng(4).random(200)
    first = {f"M{row}": value + 0.02 for row, value in enumerate(base)} | {"only here": 5.0}
    second = {f"M{row}": value for row, value in enumerate(base)}
    difference = paired_difference(first, second)
    assert difference.mean == pytest.approx(0.02)
    assert difference.n == 200
    assert difference.is_apart_from_zero
    ours, theirs = bootstrap_mean(list(first.values())[:200]), bootstrap_mean(list(second.values()))
    assert ours.low < theirs.high  # the intervals of the two overlap


def test_mean_over_seeds_keeps_what_all_seeds_have() -> None:
    assert mean_over_seeds([{"a": 1.0, "b": 0.0}, {"a": 0.0, "c": 1.0}]) == {"a": 0.5}
    assert mean_over_seeds([]) == {}
