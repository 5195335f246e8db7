"""Projection onto the first two principal components, as MS2toImg does it ("Conventional Multivariate Methods ...")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ms2img.ms2toimg.baselines.oplsda import NOTHING_LEFT

COMPONENTS = 2  # MS2toImg: "projected onto the first two principal components"


@dataclass
class Pca:
    """Two principal components; a component's sign is such that its largest loading is positive.

    A component that is `NOTHING_LEFT` of the first one's variance is rounding: its loadings and scores are 0.

    After `fit`: `scores` [n, 2], `loadings` [f, 2], `explained` [2], each component's share of the variance.
    """

    scores: np.ndarray = field(init=False, repr=False)
    loadings: np.ndarray = field(init=False, repr=False)
    explained: np.ndarray = field(init=False)
    _mean: np.ndarray = field(init=False, repr=False)

    def fit(self, rows: np.ndarray) -> Self:
        """Fit on rows [n, f], scaled as wanted (they are centred here). `ValueError`: less than two of them."""
        if min(rows.shape) < COMPONENTS:
            raise ValueError(f"rows of shape {rows.shape}: two principal components need two rows and two features")
        self._mean = rows.mean(axis=0)
        centred = rows - self._mean
        loadings = _loadings(centred)
        largest = np.abs(loadings).argmax(axis=0)
        self.loadings = loadings * np.where(loadings[largest, np.arange(COMPONENTS)] < 0, -1.0, 1.0)
        self.scores = centred @ self.loadings
        total = float(np.einsum("ij,ij->", centred, centred))
        sizes = np.einsum("ij,ij->j", self.scores, self.scores)
        self.explained = sizes / total if total > 0 else np.zeros(COMPONENTS)
        return self

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Scores [m, 2] of other rows [m, f]."""
        projected: np.ndarray = (rows - self._mean) @ self.loadings
        return projected


def _loadings(centred: np.ndarray) -> np.ndarray:
    """Of the two largest components of rows [n, f]: [f, 2], of length 1, or 0 where there is no such component.

    From the smaller of the two matrices of inner products, of rows or of features: a singular value decomposition
    makes all components.
    """
    from scipy.linalg import eigh

    of_rows = len(centred) < centred.shape[1]
    inner = centred @ centred.T if of_rows else centred.T @ centred
    sizes, vectors = eigh(inner, subset_by_index=(len(inner) - COMPONENTS, len(inner) - 1))
    sizes, vectors = sizes[::-1], vectors[:, ::-1]
    loadings = centred.T @ vectors if of_rows else vectors
    length = np.linalg.norm(loadings, axis=0)
    usable = (sizes > NOTHING_LEFT * sizes[0]) & (length > 0)
    found: np.ndarray = np.where(usable, loadings / np.where(usable, length, 1.0), 0.0)
    return found
