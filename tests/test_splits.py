"""Folds over accessions: what must hold for any cohort, and the refusal of cohorts that are too small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from ms2img.errors import UsageError
from ms2img.learn.splits import Fold, stratified_group_folds


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """(target [n], accession [n], folds): some accessions of each class and unused ones, 1 to 4 runs each, shuffled."""
    folds = draw(st.integers(2, 6))
    fewest = max(folds, 4 if folds == 2 else 3)
    counts = {1: draw(st.integers(fewest, 14)), 0: draw(st.integers(fewest, 14)), -1: draw(st.integers(0, 4))}
    rows = [
        (target, f"{target}/{index}")
        for target, count in counts.items()
        for index in range(count)
        for _ in range(draw(st.integers(1, 4)))
    ]
    rows = draw(st.permutations(rows))
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), folds


def classes(groups: np.ndarray, target: np.ndarray, rows: np.ndarray) -> dict[int, int]:
    """Accessions of each class among these rows."""
    pairs = set(zip(groups[rows].tolist(), target[rows].tolist(), strict=True))
    return {value: sum(found == value for _, found in pairs) for value in (0, 1)}


@given(cohorts(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_parts_are_disjoint_whole_pure_and_balanced(cohort: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    target, groups, n_folds = cohort
    folds = stratified_group_folds(target, groups, n_folds, seed=seed)
    used = np.flatnonzero(target >= 0)
    assert sorted(np.concatenate([fold.test for fold in folds])) == used.tolist()  # each row tested exactly once
    for fold in folds:
        parts = [fold.train, fold.validation, fold.test]
        assert sorted(np.concatenate(parts)) == used.tolist()
        names = [set(groups[part]) for part in parts]
        assert sum(map(len, names)) == len(set.union(*names))  # no accession in two parts
        assert all(min(classes(groups, target, part).values()) >= 1 for part in parts)
        outer = classes(groups, target, np.concatenate(parts[:2]))
        for value, count in classes(groups, target, fold.validation).items():
            assert abs(count - 0.2 * outer[value]) <= 0.5 or count == 1
    for value in (0, 1):
        sizes = [classes(groups, target, fold.test)[value] for fold in folds]
        assert max(sizes) - min(sizes) <= 1
    totals = [sum(classes(groups, target, fold.test).values()) for fold in folds]
    assert max(totals) - min(totals) <= 1


@given(cohorts())
@settings(max_examples=30, deadline=None)
def test_as_balanced_as_scikit_learn(cohort: tuple[np.ndarray, np.ndarray, int]) -> None:
    target, groups, n_folds = cohort
    used = target >= 0
    target, groups = target[used], groups[used]

    def worst(tests: list[np.ndarray]) -> int:
        counts = [classes(groups, target, rows) for rows in tests]
        return max(max(c[value] for c in counts) - min(c[value] for c in counts) for value in (0, 1))

    theirs = [rows for _, rows in StratifiedGroupKFold(n_folds).split(target, target, groups)]
    ours = [fold.test for fold in stratified_group_folds(target, groups, n_folds, seed=0)]
    assert worst(ours) <= max(1, worst(theirs))


def same(one: list[Fold], other: list[Fold]) -> bool:
    return all(
        np.array_equal(getattr(a, part), getattr(b, part))
        for a, b in zip(one, other, strict=True)
        for part in ("train", "validation", "test")
    )


def test_the_seed_alone_decides() -> None:
    target = np.repeat([0, 1], 30)
    groups = np.repeat(np.arange(20).astype(str), 3)
    first = stratified_group_folds(target, groups, 5, seed=3)
    assert same(first, stratified_group_folds(target, groups, 5, seed=3))
    assert not same(first, stratified_group_folds(target, groups, 5, seed=4))


def test_row_order_does_not_decide_who_is_held_out() -> None:
    target = np.repeat([0, 1], 30)
    groups = np.repeat(np.arange(20).astype(str), 3)
    order = np.random.default_rng(0).permutation(60)
    straight = stratified_group_folds(target, groups, 5, seed=0)
    shuffled = stratified_group_folds(target[order], groups[order], 5, seed=0)
    for one, other in zip(straight, shuffled, strict=True):
        assert set(groups[one.test]) == set(groups[order][other.test])


@pytest.mark.parametrize(
    ("active", "inactive", "folds", "told"),
    [
        (4, 12, 5, "4 active and 12 inactive accessions leave a part with one class; use --folds 4"),
        (12, 3, 2, "12 active and 3 inactive accessions leave a part with one class; use --folds 3"),
        (2, 12, 2, "2 active and 12 inactive .* expected 3 or more of each"),
        (0, 12, 5, "0 active and 12 inactive"),
        (12, 12, 1, "--folds 1: expected 2 or more"),
    ],
)
def test_too_few_accessions_are_refused_with_counts(active: int, inactive: int, folds: int, told: str) -> None:
    target = np.repeat([1, 0], [3 * active, 3 * inactive])  # replicates do not help
    groups = np.repeat(np.arange(active + inactive).astype(str), 3)
    with pytest.raises(UsageError, match=told):
        stratified_group_folds(target, groups, folds, seed=0)


def test_the_remedy_of_the_refusal_works() -> None:
    for active, inactive, folds in ((4, 12, 4), (12, 3, 3)):
        target = np.repeat([1, 0], [active, inactive])
        assert len(stratified_group_folds(target, np.arange(target.size).astype(str), folds, seed=0)) == folds


def test_an_accession_with_two_targets_is_a_defect() -> None:
    with pytest.raises(ValueError, match="group 'a' has the targets"):
        stratified_group_folds(np.array([0, 1]), np.array(["a", "a"]), 2, seed=0)
