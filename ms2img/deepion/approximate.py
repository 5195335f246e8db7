"""Co-localised ions among many: each ion is compared with those in the cells about its own alone, so some are missed.

An inverted file of the kind that FAISS calls IVF. A graph search (NN-descent, which UMAP brings) compiles for longer
than the exact search of 50,000 ions takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.distances import Neighbours, in_metric, nearest_among, prepared

PROBES = 16  # cells an ion is compared with (ours: see `recall`)
_PER_CELL = 256  # ions in a cell, on average (ours)


def nearest_approximately(
    embedding: np.ndarray, *, top: int = 5, metric: str = "euclidean", probes: int = PROBES, seed: int = 0
) -> Neighbours:
    """As `ms2img.deepion.colocalise.nearest` for every ion of [n, d], but some neighbours may be missed: see `recall`.

    probes: the cells, the ion's own among them, whose ions it is compared with; all of them make the search exact.
    Equal seeds give equal neighbours. Raises `UsageError` as `nearest` does.
    """
    vectors = prepared(embedding, metric, top=top)
    cell, centres = _cells(vectors, seed)
    members = [np.flatnonzero(cell == number) for number in range(len(centres))]
    rows = np.empty((len(vectors), top), np.int64)
    distances = np.empty((len(vectors), top), np.float32)
    for number, queries in enumerate(members):
        if len(queries):
            candidates = _about(number, centres, members, at_least=top + 1, probes=probes)
            rows[queries], distances[queries] = nearest_among(vectors, queries, candidates, top=top)
    return Neighbours(rows, in_metric(distances, metric))


def recall(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """The share of the true neighbours [n, k] that are among those found [n, k]."""
    if found.shape != true.shape or not true.size:
        raise ValueError(f"neighbours of shape {found.shape} found, {true.shape} true; expected one shape above 0")
    return float((found[:, :, None] == true[:, None, :]).any(axis=1).mean())


def _cells(vectors: NDArray[np.float32], seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The cell of each vector, [n], and the cells' centres, by k-means."""
    from sklearn.cluster import MiniBatchKMeans

    count = max(1, len(vectors) // _PER_CELL)
    means = MiniBatchKMeans(count, random_state=seed, n_init=1).fit(vectors)
    return means.labels_.astype(np.int64), means.cluster_centers_


def _about(
    number: int, centres: NDArray[np.float32], members: list[NDArray[np.int64]], *, at_least: int, probes: int
) -> NDArray[np.int64]:
    """The vectors of the `probes` cells nearest to a cell, rising; of more cells where these hold too few."""
    order = np.linalg.norm(centres - centres[number], axis=1).argsort(kind="stable")
    order = np.concatenate([[number], order[order != number]])  # itself first, also among cells of one centre
    held = np.cumsum([len(members[other]) for other in order])
    enough = int(np.searchsorted(held, at_least)) + 1
    return np.sort(np.concatenate([members[other] for other in order[: max(probes, enough)]]))
