"""Ion images to few dimensions without a network: Table 1's PCA and t-SNE (UMAP: `ms2img.deepion.embed.reduced`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.embed import DIMENSIONS
from ms2img.errors import UsageError

PLANE = 2  # dimensions of t-SNE; the paper names none, and its usual method (Barnes-Hut) makes three at most
_PERPLEXITY = 30.0  # scikit-learn's default, van der Maaten and Hinton's upper suggestion being 50


def principal_components(rows: np.ndarray, *, seed: int, dimensions: int = DIMENSIONS) -> NDArray[np.float64]:
    """Scores of rows [n, p] on as many principal components, or all there are: [n, at most `dimensions`]."""
    from sklearn.decomposition import PCA

    count = min(dimensions, *rows.shape)
    scores: NDArray[np.float64] = PCA(count, random_state=seed).fit_transform(np.asarray(rows, np.float64))
    return scores


def neighbour_embedding(rows: np.ndarray, *, seed: int) -> NDArray[np.float64]:
    """t-SNE of rows [n, p]: [n, 2]. `UsageError` for less than three rows.

    The perplexity is 30, or a third of the rows where that is less.
    """
    from sklearn.manifold import TSNE

    if len(rows) < 3:
        raise UsageError(f"{len(rows)} ion images: t-SNE needs three or more to place them by their neighbours")
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    tsne = TSNE(PLANE, perplexity=perplexity, init="pca", random_state=seed)
    placed = tsne.fit_transform(np.asarray(rows, np.float32))
    return np.asarray(placed, np.float64)
