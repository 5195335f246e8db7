"""OPLS-DA with one predictive and several orthogonal components (Trygg and Wold, J. Chemometrics 16:119, 2002).

Definitions are those of R's ropls (Thevenot et al., J. Proteome Res. 14:3322, 2015), which MS2toImg used: y is 0 or 1,
scaled to unit variance; components by NIPALS, one pass because y is one column. What concerns cross-validation is in
`oplsda_validation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

NOTHING_LEFT = 1e-12  # a component this much smaller than the data is rounding (ours)


@dataclass
class OplsDa:
    """One predictive and `orthogonal` Y-orthogonal components; the attributes below are there after `fit`.

    Parameters
    ----------
    orthogonal: number of orthogonal components; fewer are made when the rows have no variation left for more.

    Attributes
    ----------
    t_predictive [n], t_orthogonal [n, k]: scores. p_predictive [f], p_orthogonal [f, k], w_predictive [f],
    w_orthogonal [f, k]: loadings and weights. c: the predictive score's weight for y, scaled.
    r2x_predictive, r2x_orthogonal [k]: shares of the variance of the rows. r2x, r2y: of the whole model.
    """

    orthogonal: int
    t_predictive: np.ndarray = field(init=False, repr=False)
    t_orthogonal: np.ndarray = field(init=False, repr=False)
    p_predictive: np.ndarray = field(init=False, repr=False)
    p_orthogonal: np.ndarray = field(init=False, repr=False)
    w_predictive: np.ndarray = field(init=False, repr=False)
    w_orthogonal: np.ndarray = field(init=False, repr=False)
    c: float = field(init=False)
    r2x_predictive: float = field(init=False)
    r2x_orthogonal: np.ndarray = field(init=False)
    r2y: float = field(init=False)
    _mean: np.ndarray = field(init=False, repr=False)
    _y_mean: float = field(init=False)
    _y_sd: float = field(init=False)

    @property
    def r2x(self) -> float:
        """Share of the rows' variance that all components hold, R2X(cum) of ropls."""
        return self.r2x_predictive + float(self.r2x_orthogonal.sum())

    def fit(self, rows: np.ndarray, target: np.ndarray) -> Self:
        """Fit on rows [n, f], scaled as wanted (they are centred here), and target [n] of 0 and 1.

        Raises `ValueError` when the target is constant, or the rows are.
        """
        self._mean, (y, self._y_mean, self._y_sd) = rows.mean(axis=0), scaled_target(target)
        left = rows - self._mean
        total = float(np.einsum("ij,ij->", left, left))
        if not total > 0 or not np.any(left.T @ y):
            raise ValueError("no variation in the rows goes with the target: nothing to fit")
        scores, weights, loadings = [], [], []
        for _ in range(self.orthogonal):
            w, _, p = _predictive(left, y)
            across = p - w  # step 7 of the paper: w has length 1 and w'p = 1
            length = float(np.linalg.norm(across))
            if length <= NOTHING_LEFT * float(np.linalg.norm(p)):
                break
            w_o = across / length
            t_o = left @ w_o
            p_o = left.T @ t_o / (t_o @ t_o)
            left = left - np.outer(t_o, p_o)
            scores.append(t_o)
            weights.append(w_o)
            loadings.append(p_o)
        self.w_predictive, self.t_predictive, self.p_predictive = _predictive(left, y)
        self.c = float(y @ self.t_predictive / (self.t_predictive @ self.t_predictive))
        n, features = rows.shape
        self.t_orthogonal = np.array(scores).reshape(-1, n).T
        self.w_orthogonal = np.array(weights).reshape(-1, features).T
        self.p_orthogonal = np.array(loadings).reshape(-1, features).T
        self.r2x_predictive = _size(self.t_predictive) * _size(self.p_predictive) / total
        self.r2x_orthogonal = np.array([_size(t) * _size(p) for t, p in zip(scores, loadings, strict=True)]) / total
        self.r2y = self.c**2 * _size(self.t_predictive) / _size(y)
        return self

    def scores(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictive [m] and orthogonal [m, k] scores of other rows [m, f]."""
        left = rows - self._mean
        orthogonal = np.empty((len(rows), self.w_orthogonal.shape[1]))
        for k in range(orthogonal.shape[1]):
            orthogonal[:, k] = left @ self.w_orthogonal[:, k]
            left = left - np.outer(orthogonal[:, k], self.p_orthogonal[:, k])
        return left @ self.w_predictive, orthogonal

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The target as predicted [m]: 0 is inactive, 1 active, not limited to that range; ropls calls > 0.5 active."""
        return self._y_mean + self._y_sd * self.c * self.scores(rows)[0]


def scaled_target(target: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The target [n] to mean 0 and unit variance (n - 1), with mean and standard deviation. `ValueError`: constant."""
    y = np.asarray(target, dtype=np.float64)
    mean, sd = float(y.mean()), float(y.std(ddof=1)) if len(y) > 1 else 0.0
    if not sd > 0:
        raise ValueError(f"the target is {mean:g} in every row; expected two classes")
    return (y - mean) / sd, mean, sd


def _predictive(left: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of length 1 [f], score [n] and loading [f] of the predictive component (steps 1-3 and 6 of the paper)."""
    w = left.T @ y
    w = w / np.linalg.norm(w)
    t = left @ w
    return w, t, left.T @ t / (t @ t)


def _size(vector: np.ndarray) -> float:
    return float(vector @ vector)
