"""Splits that keep the replicates of an accession together and both classes on every side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ms2img.errors import UsageError

VALIDATION_FRACTION = 0.2  # of a fold's training accessions, for choosing the epoch (ours)


@dataclass(frozen=True)
class Fold:
    """Row numbers [n] (int64, ascending) of one fold's three parts; no accession is in two of them."""

    index: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def stratified_group_folds(
    target: np.ndarray,
    groups: np.ndarray,
    n_folds: int,
    *,
    seed: int,
    validation_fraction: float = VALIDATION_FRACTION,
) -> list[Fold]:
    """Cross-validation folds over groups (accessions), each with an inner validation part.

    Parameters
    ----------
    target: int [n], 1 active, 0 inactive, -1 unused: such rows are in no part. One value a group.
    groups: [n], the accession of each row.
    n_folds: at least 2.
    seed: equal seeds give equal folds.
    validation_fraction: share of each class's training accessions set aside; at least one of each class.

    Every used row is in the test part of exactly one fold, and the folds' test parts differ by at most one accession
    in each class. Raises `UsageError` with the counts when a class has too few accessions to be in every part.
    """
    class_of = group_targets(target, groups)
    require_enough(class_of, n_folds)
    rng = np.random.default_rng(seed)
    fold_of = _deal(class_of, n_folds, rng)
    folds = []
    for index in range(n_folds):
        outer = {group: value for group, value in class_of.items() if fold_of[group] != index}
        held_out = choose_validation(outer, validation_fraction, rng)
        folds.append(
            Fold(
                index=index,
                train=_rows(groups, set(outer) - held_out),
                validation=_rows(groups, held_out),
                test=_rows(groups, set(class_of) - set(outer)),
            )
        )
    return folds


def kept(fold: Fold, rows: np.ndarray) -> Fold:
    """The fold without the rows that are missing somewhere: `rows` [m] (ascending) are left, and numbered 0 to m - 1.

    Folds that are dealt once, over everything labelled, so serve tables that lack some of it: no other row moves.
    """
    left = [np.flatnonzero(np.isin(rows, part)) for part in (fold.train, fold.validation, fold.test)]
    return Fold(fold.index, *left)


def group_targets(target: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """The target of each used group, sorted by name; `ValueError` for a group with two."""
    found: dict[str, int] = {}
    for group, value in sorted(zip(map(str, groups), map(int, target), strict=True)):
        if found.setdefault(group, value) != value:
            raise ValueError(f"group '{group}' has the targets {found[group]} and {value}; expected one a group")
    return {group: value for group, value in found.items() if value != -1}


def require_enough(class_of: dict[str, int], n_folds: int) -> None:
    """Raise `UsageError` when `n_folds` folds of these groups would leave a part without one of the classes."""
    active = sum(class_of.values())
    inactive = len(class_of) - active
    fewest = min(active, inactive)
    if n_folds < 2:
        raise UsageError(f"--folds {n_folds}: expected 2 or more")
    # The largest test part takes ceil(fewest / n_folds); training and validation need one accession each.
    if fewest >= n_folds and fewest - math.ceil(fewest / n_folds) >= 2:
        return
    problem = f"--folds {n_folds}: {active} active and {inactive} inactive accessions leave a part with one class"
    if fewest >= 3:  # then as many folds as accessions always works
        raise UsageError(f"{problem}; use --folds {fewest}")
    raise UsageError(f"{problem}; expected 3 or more of each: move --low and --high or add accessions")


def choose_validation(class_of: dict[str, int], fraction: float, rng: np.random.Generator) -> set[str]:
    """The groups of an inner validation part: `fraction` of each class, at least one, never all."""
    chosen: set[str] = set()
    for value in (0, 1):
        names = [group for group, found in class_of.items() if found == value]
        count = min(max(1, round(fraction * len(names))), len(names) - 1)
        chosen.update(names[i] for i in rng.permutation(len(names))[:count])
    return chosen


def _deal(class_of: dict[str, int], n_folds: int, rng: np.random.Generator) -> dict[str, int]:
    """Shuffle each class and deal it like cards; the second class goes on where the first one stopped."""
    names = [group for value in (0, 1) for group in _shuffled(class_of, value, rng)]
    return {group: position % n_folds for position, group in enumerate(names)}


def _shuffled(class_of: dict[str, int], value: int, rng: np.random.Generator) -> list[str]:
    names = [group for group, found in class_of.items() if found == value]
    return [names[i] for i in rng.permutation(len(names))]


def _rows(groups: np.ndarray, chosen: set[str]) -> np.ndarray:
    return np.flatnonzero([str(group) in chosen for group in groups])
