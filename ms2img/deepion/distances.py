"""The nearest of some vectors to some others: one matrix product for the choice, differences for the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ms2img.errors import UsageError

METRICS = ("euclidean", "cosine")  # DeepION's, between embeddings; and 1 - cosine
_SPARE = 8  # candidates looked at anew beyond twice those asked for: rounding may have put them behind others (ours)


class Neighbours(NamedTuple):
    """Of each of q queries its nearest ions, nearest first: row numbers int64 [q, top], distances float32 [q, top]."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


def prepared(embedding: np.ndarray, metric: str, *, top: int) -> NDArray[np.float32]:
    """Vectors of [n, d] whose Euclidean distances rank as the metric does; `UsageError` for a search that cannot be."""
    if metric not in METRICS:
        raise UsageError(f"metric: {metric!r}; expected one of {', '.join(METRICS)}")
    vectors = np.asarray(embedding, np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise UsageError(f"embedding of shape {vectors.shape}; expected finite numbers [n, d]")
    if not 1 <= top < len(vectors):
        raise UsageError(f"top: {top} of {len(vectors)} ions; expected from 1 to {len(vectors) - 1}")
    if metric == "cosine":
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return vectors - vectors.mean(axis=0)  # distances stay, and lose less to rounding


def in_metric(distances: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Euclidean distances of prepared vectors in the metric: of vectors of length 1, half the square is 1 - cosine."""
    return 0.5 * distances * distances if metric == "cosine" else distances


def nearest_among(
    vectors: NDArray[np.float32], queries: NDArray[np.int64], candidates: NDArray[np.int64], *, top: int
) -> Neighbours:
    """The `top` nearest candidates of each query but itself, by Euclidean distance; of equally distant ones the first.

    vectors: [n, d]. queries: [q], rows of it, candidates themselves. candidates: [c], c > top, rows of it that rise.
    """
    some, others = vectors[queries], vectors[candidates]
    squared = _squared_distances(some, others)
    squared[np.arange(len(queries)), np.searchsorted(candidates, queries)] = np.inf
    kept = min(2 * top + _SPARE, len(candidates) - 1)
    near = np.sort(np.argpartition(squared, kept - 1, axis=1)[:, :kept], axis=1)
    exact = np.linalg.norm(others[near] - some[:, None], axis=2)
    order = np.argsort(exact, axis=1, kind="stable")[:, :top]
    rows = candidates[np.take_along_axis(near, order, axis=1)]
    return Neighbours(rows, np.take_along_axis(exact, order, axis=1))


def _squared_distances(some: NDArray[np.float32], every: NDArray[np.float32]) -> NDArray[np.float32]:
    """[q, d] and [c, d] to [q, c], by one matrix product; exact to about 1e-6 of the squared lengths."""
    squared = some @ every.T
    squared *= -2
    squared += np.einsum("qd,qd->q", some, some)[:, None]
    squared += np.einsum("cd,cd->c", every, every)
    return squared
