"""Co-localised ions: the nearest in an embedding, by exact search (DeepION, section 4.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.distances import Neighbours, in_metric, nearest_among, prepared
from ms2img.errors import UsageError

BLOCK = 1024  # queries at a time: 200 MB of float32 against 50,000 ions (ours)


def nearest(
    embedding: np.ndarray, queries: np.ndarray | None = None, *, top: int = 5, metric: str = "euclidean"
) -> Neighbours:
    """The `top` ions nearest to each query, itself left out; of equally distant ones the first.

    Parameters
    ----------
    embedding: float [n, d].
    queries: int [q], rows of it; None: all.
    metric: one of `ms2img.deepion.distances.METRICS`.

    Raises `UsageError` for an unknown metric, `top` out of 1 to n - 1 or queries out of the embedding.
    """
    vectors = prepared(embedding, metric, top=top)
    every = np.arange(len(vectors))
    asked = every if queries is None else np.asarray(queries, np.int64)
    if asked.size and (asked.min() < 0 or asked.max() >= len(vectors)):
        raise UsageError(f"queries: rows {asked.min()} to {asked.max()}; expected from 0 to {len(vectors) - 1}")
    rows = np.empty((len(asked), top), np.int64)
    distances = np.empty((len(asked), top), np.float32)
    for start in range(0, len(asked), BLOCK):
        block = slice(start, start + BLOCK)
        rows[block], distances[block] = nearest_among(vectors, asked[block], every, top=top)
    return Neighbours(rows, in_metric(distances, metric))


def row_of_mz(mz: np.ndarray, wanted: float, *, ppm: float) -> int:
    """The row of the ion nearest to `wanted` (Da/charge); `UsageError` when none is within `ppm`."""
    if not len(mz):
        raise UsageError("no ion images to look in")
    row = int(np.abs(mz - wanted).argmin())
    if abs(mz[row] - wanted) > ppm * 1e-6 * wanted:
        raise UsageError(f"query: m/z {wanted:.10g} has no ion image within {ppm:g} ppm; the nearest is {mz[row]:.5f}")
    return row


def ranked(similarity: np.ndarray, *, top: int) -> NDArray[np.int64]:
    """The same search on similarities [n, n], a query a row: the `top` most similar ions of each, itself left out."""
    scores = np.array(similarity, np.float64)
    np.fill_diagonal(scores, -np.inf)
    found: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return found


def precision_at_k(neighbours: NDArray[np.int64], labels: np.ndarray) -> float:
    """The mean of `precision_of_each` over all ions whose class has another; NaN where no class has two ions."""
    each = precision_of_each(neighbours, labels)
    counted = each[np.isfinite(each)]
    return float(counted.mean()) if len(counted) else float("nan")


def precision_of_each(neighbours: NDArray[np.int64], labels: np.ndarray) -> NDArray[np.float64]:
    """The share of each ion's k neighbours that are of its class, [n]; NaN for an ion that is alone in its class.

    neighbours: int [n, k], of all n ions in order. labels: [n]. A class of fewer than k + 1 ions cannot fill k places:
    its share is of what there is. `ValueError` for lengths that differ.
    """
    labels = np.asarray(labels)
    if len(neighbours) != len(labels):
        raise ValueError(f"neighbours of {len(neighbours)} ions, but {len(labels)} labels")
    _, group, size = np.unique(labels, return_inverse=True, return_counts=True)
    others = size[group] - 1
    right = (group[neighbours] == group[:, None]).sum(axis=1)
    places = np.minimum(others, neighbours.shape[1])
    return np.divide(right, places, out=np.full(len(labels), np.nan), where=others > 0)
