"""Two ways to shrink the drawn figure: averaging over each pixel's area, and TensorFlow's default."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def resize_area(source: Bytes, height: int, width: int) -> Bytes:
    """Average the source pixels under each pixel, those on its border by the share inside it.

    source: uint8 [h, w] -> uint8 [height, width], rounded half up. At 4500 x 4200 -> 150 x 140 a pixel is the mean of
    exactly 30 x 30 source pixels.
    """
    rows = _box_sums(source, height)
    sums = _box_sums(rows.T, width).T
    return to_bytes(sums * (height * width / source.size))


def _box_sums(values: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.float64]:
    """Sums of [n, m] `values` over `count` equal, fractional stretches of the first axis: [count, m]."""
    n = values.shape[0]
    edges = np.arange(count + 1) * n / count
    whole = np.minimum(edges.astype(np.int64), n - 1)
    below = np.zeros((n + 1, values.shape[1]), np.uint32 if values.dtype == np.uint8 else np.float64)
    np.cumsum(values, axis=0, out=below[1:])
    integral = below[whole] + (edges - whole)[:, None] * values[whole]
    return np.diff(integral, axis=0)


def resize_bilinear(source: Bytes, height: int, width: int) -> Bytes:
    """Interpolate between the 2 x 2 source pixels around each pixel's centre, as ``tf.image.resize`` does by default.

    source: uint8 [h, w] -> uint8 [height, width], rounded half up. No antialiasing, half-pixel centres: all other
    source pixels are never looked at.
    """
    top, bottom, _ = neighbours(source.shape[0], height)
    left, right, _ = neighbours(source.shape[1], width)
    corners = source[np.ix_(interleaved(top, bottom), interleaved(left, right))]
    return interpolate(corners, source.shape)


def neighbours(n: int, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each of `count` pixels along an axis of `n` source pixels: the two neighbours and the second one's weight."""
    centre = np.maximum((np.arange(count) + 0.5) * n / count - 0.5, 0.0)
    first = np.minimum(centre.astype(np.int64), n - 1)
    return first, np.minimum(first + 1, n - 1), centre - first


def interleaved(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """first[0], second[0], first[1], ...: the source lines that `interpolate` wants, in order."""
    return np.stack([first, second], axis=1).ravel()


def interpolate(corners: npt.NDArray[np.generic], source_shape: tuple[int, ...]) -> Bytes:
    """Blend [2 height, 2 width] `corners`, the 2 x 2 source pixels of each pixel side by side, into its value."""
    height, width = corners.shape[0] // 2, corners.shape[1] // 2
    down = neighbours(source_shape[0], height)[2][:, None]
    right = neighbours(source_shape[1], width)[2]
    rows = corners[0::2] * (1 - down) + corners[1::2] * down
    return to_bytes(rows[:, 0::2] * (1 - right) + rows[:, 1::2] * right)


def to_bytes(grey: npt.NDArray[np.float64]) -> Bytes:
    """Round 0-255 half up to uint8."""
    return np.floor(grey + 0.5).astype(np.uint8)
