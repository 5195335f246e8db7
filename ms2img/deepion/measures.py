"""Similarities of ion images that are not learned (DeepION, Table 1), between all pairs: higher is more alike.

Each takes rows [n, p] of pixels (the tissue's alone, where a mask is known) and gives [n, n], float64. The structural
similarity, which needs neighbouring pixels, is in `ms2img.deepion.structure`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEDIAN = 0.5  # METASPACE: intensities below this quantile of their image count as 0
_WINDOW = 3  # METASPACE: pixels a side of the median filter


def euclidean(rows: np.ndarray) -> NDArray[np.float64]:
    """Euclidean distance, negative."""
    return -np.sqrt(_squared(_checked(rows)))


def cosine(rows: np.ndarray) -> NDArray[np.float64]:
    """Cosine; 0 for an image without signal, also with itself."""
    return _cosines(_checked(rows))


def pearson(rows: np.ndarray) -> NDArray[np.float64]:
    """Pearson's correlation; 0 for a constant image, also with itself."""
    rows = _checked(rows)
    return _cosines(rows - rows.mean(axis=1, keepdims=True))


def determination(rows: np.ndarray) -> NDArray[np.float64]:
    """R2 of the image of a row as told by the image of a column, without a fit: 1 if equal, below 0 if unlike.

    Not symmetric. A constant image is told perfectly (1) by its equal and not at all (0) by others, as in scikit-learn.
    """
    rows = _checked(rows)
    total = np.square(rows - rows.mean(axis=1, keepdims=True)).sum(axis=1)[:, None]
    residual = _squared(rows)
    known = np.broadcast_to(total > 0, residual.shape)
    constant = np.where(residual > 0, 0.0, 1.0)
    return np.where(known, 1 - residual / np.where(known, total, 1.0), constant)


def median_thresholded_cosine(images: np.ndarray) -> NDArray[np.float64]:
    """METASPACE's own measure, of images [n, H, W]: cosine after what is below the median is 0, and a median filter.

    The median is the image's over all pixels; the filter is 3x3, the edge mirrored.
    """
    from scipy.ndimage import median_filter

    if images.ndim != 3:
        raise ValueError(f"images of shape {images.shape}; expected [n, H, W]")
    limit = np.quantile(images, MEDIAN, axis=(1, 2), keepdims=True)
    filtered = median_filter(np.where(images < limit, 0, images), (1, _WINDOW, _WINDOW))
    return _cosines(_checked(filtered.reshape(len(images), -1)))


def _squared(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances, exactly 0 on the diagonal."""
    length = np.einsum("np,np->n", rows, rows)
    squared = np.maximum(length[:, None] + length - 2 * (rows @ rows.T), 0)
    np.fill_diagonal(squared, 0)
    return squared


def _cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return np.clip(units @ units.T, -1, 1)


def _checked(rows: np.ndarray) -> NDArray[np.float64]:
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"pixels of shape {rows.shape}; expected finite numbers [n, p]")
    return np.asarray(rows, np.float64)
