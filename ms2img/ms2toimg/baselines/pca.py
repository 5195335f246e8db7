"""Projection onto the first two principal components, as MS2toImg does it ("Conventional Multivariate Methods ...")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

COMPONENTS = 2  # MS2toImg: "projected onto the first two principal components"


@dataclass
class Pca:
    """Two principal components; a component's sign is such that its largest loading is positive.

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
        left, sizes, right = np.linalg.svd(centred, full_matrices=False)
        largest = np.abs(right[:COMPONENTS]).argmax(axis=1)
        signs = np.where(right[np.arange(COMPONENTS), largest] < 0, -1.0, 1.0)
        self.loadings = (right[:COMPONENTS] * signs[:, None]).T
        self.scores = left[:, :COMPONENTS] * sizes[:COMPONENTS] * signs
        total = float(sizes @ sizes)
        self.explained = sizes[:COMPONENTS] ** 2 / total if total > 0 else np.zeros(COMPONENTS)
        return self

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Scores [m, 2] of other rows [m, f]."""
        projected: np.ndarray = (rows - self._mean) @ self.loadings
        return projected
