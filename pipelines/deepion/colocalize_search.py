"""The search of ``ms2img deepion colocalize``: queries to rows, rows to neighbours, neighbours to a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ms2img.deepion.colocalise import BLOCK, nearest, row_of_mz
from ms2img.deepion.distances import Neighbours
from ms2img.deepion.embedding_folder import Embedding
from ms2img.errors import UsageError
from pipelines.progress import Steps

#: Space -> the embedding's array, the metric between its rows, and its name in a sentence.
SPACES = {
    "umap": ("reduced", "euclidean", "UMAP's {d} dimensions, Euclidean distance"),
    "encoder": ("vectors", "cosine", "the encoder's {d} dimensions, 1 - cosine"),
}
CHECKED = 500  # ions whose exact neighbours an approximate search is measured by, evenly spaced (ours)

#: One row a hit.
COLOCALISED = pa.schema(
    [
        pa.field("query_mz", pa.float64(), nullable=False),  # Da / charge, of the ion image asked for
        pa.field("rank", pa.int32(), nullable=False),  # from 1, nearest first
        pa.field("mz", pa.float64(), nullable=False),  # Da / charge
        pa.field("distance", pa.float32(), nullable=False),  # in the space searched
        pa.field("presence", pa.float64(), nullable=False),  # of the hit: share of measured pixels with signal, 0-1
    ]
)


@dataclass(frozen=True, eq=False)
class Found:
    """The neighbours of each of q queries (int64 [q], rows of the embedding), and how they were looked for.

    recall: share of the exact neighbours that an approximate search found, of `CHECKED` ions; None for an exact one.
    """

    queries: NDArray[np.int64]
    neighbours: Neighbours
    space: str
    said: str
    recall: float | None


def rows_of(place: str, embedding: Embedding, wanted: Sequence[float], *, ppm: float) -> NDArray[np.int64]:
    """The rows of the ions asked for by m/z, each once, in that order; `UsageError` for one that is not there."""
    try:
        rows = [row_of_mz(embedding.mz, mz, ppm=ppm) for mz in wanted]
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    return np.array(list(dict.fromkeys(rows)), np.int64)


def search(
    embedding: Embedding,
    queries: NDArray[np.int64] | None,
    *,
    top: int,
    space: str,
    approximate: bool = False,
    quiet: bool = False,
) -> Found:
    """The `top` nearest ions of some rows, or of all, itself left out; `UsageError` for `top` beyond the ions."""
    name, metric, said = SPACES[space]
    vectors = getattr(embedding, name)
    asked = np.arange(len(embedding)) if queries is None else queries
    said = said.format(d=vectors.shape[1])
    if approximate:
        found, recall = _approximate(vectors, top, metric)
        return Found(asked, found, space, said, recall)
    parts = []
    blocks = [asked[start : start + BLOCK] for start in range(0, len(asked), BLOCK)]
    with Steps(len(asked), "search", quiet=quiet or len(blocks) == 1) as steps:
        for block in blocks:
            parts.append(nearest(vectors, block, top=top, metric=metric))
            steps.advance(len(block))
    rows, distances = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Found(asked, Neighbours(rows, distances), space, said, None)


def table_of(embedding: Embedding, found: Found) -> pa.Table:
    """The answer, schema `COLOCALISED`, query by query."""
    rows, distances = found.neighbours
    q, top = rows.shape
    columns = [
        np.repeat(embedding.mz[found.queries], top),
        np.tile(np.arange(1, top + 1, dtype=np.int32), q),
        embedding.mz[rows.ravel()],
        distances.ravel(),
        embedding.presence[rows.ravel()],
    ]
    return pa.Table.from_arrays([pa.array(each) for each in columns], schema=COLOCALISED)


def _approximate(vectors: np.ndarray, top: int, metric: str) -> tuple[Neighbours, float]:
    from ms2img.deepion.approximate import nearest_approximately, recall

    found = nearest_approximately(vectors, top=top, metric=metric)
    some = np.unique(np.linspace(0, len(vectors) - 1, CHECKED).astype(np.int64))
    return found, recall(found.rows[some], nearest(vectors, some, top=top, metric=metric).rows)
