"""Images as rows that can be compared: averaged down, square-rooted, scaled to length 1."""

from __future__ import annotations

import numpy as np

MOST_PIXELS = 75 * 70  # the paper's small size (ours): enough to tell replicates from strangers, see docs/qc.md
CHUNK = 512  # images at a time, so that memory beyond the result stays small


def profiles(images: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 [n, pixels], of uint8 images [n, height, width]; a black image stays a row of zeros.

    Square blocks of pixels are averaged until an image has at most `MOST_PIXELS`; then the square root is taken, so
    that a few dark spots do not decide alone. The dot product of two rows is their cosine similarity, 0 to 1.
    """
    n, height, width = images.shape
    side = 1
    while -(-height // side) * -(-width // side) > MOST_PIXELS:
        side += 1
    rows, columns = -(-height // side), -(-width // side)
    out = np.empty((n, rows * columns), dtype=np.float32)
    for start in range(0, n, CHUNK):
        chunk = images[start : start + CHUNK]
        padded = np.zeros((len(chunk), rows * side, columns * side), dtype=np.uint8)
        padded[:, :height, :width] = chunk
        blocks = padded.reshape(len(chunk), rows, side, columns, side).sum(axis=(2, 4), dtype=np.float32)
        out[start : start + CHUNK] = np.sqrt(blocks).reshape(len(chunk), -1)
    return unit(out)


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1 in place; rows of zeros stay."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        length = np.linalg.norm(chunk, axis=1, keepdims=True)
        chunk /= np.where(length > 0, length, 1)
    return rows


def grey_totals(images: np.ndarray) -> np.ndarray:
    """Sum of the pixels of each image, 1 being one dark pixel: float64 [n]."""
    return images.reshape(len(images), -1).sum(axis=1, dtype=np.int64) / 255.0
