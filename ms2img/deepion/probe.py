"""The linear probe of Table 1: a linear classifier of vectors that tells each image's class from all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RIDGE = 1.0  # penalty on columns of variance 1: scikit-learn's default; the paper names no classifier


@dataclass(frozen=True)
class Probe:
    """What a probe told: the class of each image, [n], and the share that is right."""

    predicted: np.ndarray
    accuracy: float


def leave_one_out(vectors: np.ndarray, labels: np.ndarray, *, ridge: float = RIDGE) -> Probe:
    """Ridge regression of vectors [n, d] onto one column a class, +1 or -1; an image is of its largest.

    For similarities pass their matrix [n, n]: an image is then described by what it is similar to. Columns are scaled
    to mean 0 and variance 1 over all images (no label is looked at). All n regressions come of one: the residual of a
    left-out image is its residual over one minus its leverage, exactly. An image that is alone in its class is always
    wrong.

    Raises `ValueError` for shapes that differ, values that are not finite or less than two classes.
    """
    vectors, labels = np.asarray(vectors, np.float64), np.asarray(labels)
    if vectors.ndim != 2 or labels.shape != (len(vectors),) or not np.isfinite(vectors).all():
        raise ValueError(f"vectors {vectors.shape} and labels {labels.shape}; expected finite [n, d] and [n]")
    classes, group = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class; a classifier needs two or more")
    targets = np.where(group[:, None] == np.arange(len(classes)), 1.0, -1.0)
    hat = _hat_matrix(_scaled(vectors), ridge)
    leverage = np.diag(hat)[:, None]
    left_out = (hat @ targets - leverage * targets) / (1 - leverage)
    predicted = left_out.argmax(axis=1)
    return Probe(classes[predicted], float(np.mean(predicted == group)))


def _scaled(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of mean 0 and variance 1; a constant one is 0."""
    centred = vectors - vectors.mean(axis=0)
    deviation = centred.std(axis=0)
    varies = deviation > 1e-12 * np.abs(vectors).max(axis=0, initial=0.0)  # else it is rounding
    return np.where(varies, centred / np.where(varies, deviation, 1.0), 0.0)


def _hat_matrix(centred: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """What turns targets into fitted values, [n, n], the intercept free of the penalty."""
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    shrunk = left * (size**2 / (size**2 + ridge))
    return shrunk @ left.T + 1 / len(centred)
