"""How far an OPLS-DA model is to be trusted: Q2Y, the number of components, the permutation test, as ropls has them.

One predictive and k orthogonal components predict what a PLS of k + 1 components predicts, so nothing here needs the
orthogonal scores: PLS runs on the rows' inner products [n, n], for many labellings at once.

Where the definitions of ropls are not kept: it centres rows and target once, over all of them, before the folds are
cut. With few rows of many features every row then carries the others' labels with the sign turned (centred rows sum to
0), and labels that mean nothing have a Q2Y above 0: .10 for 27 rows of 3,000 features. Here each training part is
centred by itself; ``centre="all"`` is ropls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ms2img.ms2toimg.baselines.oplsda import NOTHING_LEFT, scaled_target

FOLDS = 7  # ropls, `crossvalI`; MS2toImg has "seven-fold"
MAX_COMPONENTS = 10  # ropls: predictive and orthogonal ones together, where it chooses
R2Y_GAIN = 0.01  # ropls, rule N4: a component that explains less of y ends the choice
Q2Y_GAIN = 0.01  # ropls, rule R1 for OPLS: so does one that predicts less
FALLBACK = 1  # orthogonal components where ropls builds no model: the least that makes it OPLS (ours)

Centre: TypeAlias = Literal["training", "all"]


@dataclass(frozen=True)
class Choice:
    """How many orthogonal components, with R2Y and Q2Y of that model.

    `significant` is False where ropls would have built no model (by its rules the predictive or the first orthogonal
    component was worth nothing) and `FALLBACK` was taken.
    """

    orthogonal: int
    r2y: float
    q2y: float
    significant: bool


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """R2Y and Q2Y of the labels as they are (`observed`), and of `r2y` and `q2y` [n], those of permuted labels.

    The p-values are (1 + how many are at least as large) / (1 + n). (ropls divides by n: its values can exceed 1.)
    """

    observed: Choice
    r2y: np.ndarray
    q2y: np.ndarray

    @property
    def p_r2y(self) -> float:
        """Of R2Y: small where labels as good as these are rarely fitted as well."""
        return float(1 + np.sum(self.r2y >= self.observed.r2y)) / (1 + self.r2y.size)

    @property
    def p_q2y(self) -> float:
        """Of Q2Y: small where labels as good as these are rarely predicted as well."""
        return float(1 + np.sum(self.q2y >= self.observed.q2y)) / (1 + self.q2y.size)


def choose(
    rows: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    orthogonal: int | None = None,
    centre: Centre = "training",
) -> Choice:
    """R2Y and Q2Y of a model with `orthogonal` components, or with as many as the rules of ropls keep.

    Parameters
    ----------
    rows: [n, f], scaled as wanted; they are centred here.
    target: [n] of 0 and 1.
    groups: [n]: rows of one group are left out together; None: each row is a group, as in ropls.
    centre: by the mean of each training part, or once by that of all rows, as ropls does.

    Raises `ValueError`: a constant target, fewer than two groups, or more components than rows or features allow.
    """
    y = scaled_target(target)[0][:, None]
    path = _path(_inner(rows), y, fold_of(groups, len(y)), _wanted(rows, orthogonal), centre)
    return _choices(*path, orthogonal)[0]


def permutation_test(
    rows: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    orthogonal: int | None = None,
    centre: Centre = "training",
    permutations: int = 200,
    seed: int = 0,
) -> PermutationTest:
    """Compare R2Y and Q2Y with those of `permutations` labellings drawn at random; arguments as for `choose`.

    Labels are exchanged between groups: rows of a group keep one label. Where `orthogonal` is None the number is
    chosen anew for every labelling; ropls keeps the number that suited the true labels, which favours them.
    """
    names = np.arange(len(target)) if groups is None else groups
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = [target[first][rng.permutation(first.size)][group] for _ in range(permutations)]
    labellings = np.stack([scaled_target(labels)[0] for labels in (target, *drawn)], axis=1)
    path = _path(_inner(rows), labellings, fold_of(groups, len(target)), _wanted(rows, orthogonal), centre)
    observed, *others = _choices(*path, orthogonal)
    return PermutationTest(observed, np.array([each.r2y for each in others]), np.array([each.q2y for each in others]))


def fold_of(groups: np.ndarray | None, n: int) -> np.ndarray:
    """The fold [n] of each row: groups are dealt in turn, in the order in which they first appear, as ropls deals rows.

    `ValueError` for fewer than two groups; fewer than `FOLDS` groups are left out one at a time.
    """
    names = np.arange(n) if groups is None else np.asarray(groups)
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    if first.size < 2:
        raise ValueError("cross-validation needs two groups of rows or more")
    rank = np.empty(first.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[group] % FOLDS


def _wanted(rows: np.ndarray, orthogonal: int | None) -> int:
    """Components to compute: predictive and orthogonal ones."""
    most = min(rows.shape)
    if orthogonal is None:
        return min(MAX_COMPONENTS, most)
    if not 0 <= orthogonal < most:
        raise ValueError(f"{orthogonal} orthogonal components: expected 0 to {most - 1} for rows of shape {rows.shape}")
    return orthogonal + 1


def _inner(rows: np.ndarray) -> np.ndarray:
    """Inner products [n, n] of the rows, centred over all of them."""
    centred = rows - rows.mean(axis=0)
    products: np.ndarray = centred @ centred.T
    return products


def _path(
    inner: np.ndarray, y: np.ndarray, fold: np.ndarray, components: int, centre: Centre
) -> tuple[np.ndarray, np.ndarray]:
    """R2Y and Q2Y [components, labellings] of models of 1, 2, ... components for y [n, labellings], each scaled."""
    total = _squares(y)
    r2y = np.stack([1 - _squares(y - fitted) / total for fitted in _pls(inner, y, inner, components)])
    press = np.zeros((components, y.shape[1]))
    for number in np.unique(fold):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        among, across = inner[np.ix_(train, train)], inner[np.ix_(test, train)]
        mean = np.zeros(y.shape[1])
        if centre == "training":
            among, across = _centred(among, across)
            mean = y[train].mean(axis=0)
        predictions = _pls(among, y[train] - mean, across, components)
        press += np.stack([_squares(y[test] - mean - predicted) for predicted in predictions])
    return r2y, 1 - press / total


def _centred(among: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner products among rows [n, n], and of others with them [m, n], after the mean of the n is taken off all."""
    mean = among.mean(axis=0)
    return among - mean - mean[:, None] + mean.mean(), across - mean - across.mean(axis=1)[:, None] + mean.mean()


def _pls(inner: np.ndarray, y: np.ndarray, other: np.ndarray, components: int) -> Iterator[np.ndarray]:
    """What PLS of 1, 2, ... components of y [n, labellings] predicts for other rows: [m, labellings] each.

    Kernel PLS (Rannar et al., J. Chemometrics 8:111, 1994): `inner` [n, n] of the training rows, `other` [m, n] of the
    others with them. A score is `inner` times its dual vector, freed of the earlier scores; a labelling that has
    nothing left to explain keeps what it predicts.
    """
    left, predicted = y.copy(), np.zeros((len(other), y.shape[1]))
    scores: list[np.ndarray] = []
    duals: list[np.ndarray] = []
    first_size: np.ndarray | None = None
    for _ in range(components):
        dual = left.copy()
        score = inner @ dual
        for _ in range(2):  # twice is enough for scores that are orthogonal to rounding
            for t, d in zip(scores, duals, strict=True):
                share = _divided(np.einsum("ij,ij->j", t, score), _squares(t))
                score = score - t * share
                dual = dual - d * share
        size = _squares(score)
        first_size = size if first_size is None else first_size
        usable = size > (NOTHING_LEFT**2) * first_size
        weight = np.where(usable, _divided(np.einsum("ij,ij->j", score, left), size), 0.0)
        left = left - score * weight
        predicted = predicted + (other @ dual) * weight
        scores.append(np.where(usable, score, 0.0))
        duals.append(np.where(usable, dual, 0.0))
        yield predicted


def _choices(r2y: np.ndarray, q2y: np.ndarray, orthogonal: int | None) -> list[Choice]:
    """For each labelling the model asked for, or the one that the rules of ropls keep."""
    if orthogonal is not None:
        return [Choice(orthogonal, float(r2y[-1, j]), float(q2y[-1, j]), True) for j in range(r2y.shape[1])]
    worth = (np.diff(r2y, axis=0, prepend=0.0) >= R2Y_GAIN) & (np.diff(q2y, axis=0, prepend=0.0) >= Q2Y_GAIN)
    kept = np.cumprod(worth, axis=0).sum(axis=0)  # components before the first that is not worth it
    chosen = []
    for j, components in enumerate(kept):
        number = int(components) - 1 if components >= 2 else min(FALLBACK, len(r2y) - 1)
        chosen.append(Choice(number, float(r2y[number, j]), float(q2y[number, j]), bool(components >= 2)))
    return chosen


def _squares(values: np.ndarray) -> np.ndarray:
    """Sum of squares of each column."""
    return np.einsum("ij,ij->j", values, values)


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the denominator is."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
