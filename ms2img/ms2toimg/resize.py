"""Two ways to shrink the drawn figure: averaging over each pixel's area, and TensorFlow's default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


def resize_area(source: Bytes, height: int, width: int) -> Bytes:
    """Average the source pixels under each pixel, those on its border by the share inside it.

    source: uint8 [h, w] -> uint8 [height, width], rounded half up. At 4500 x 4200 -> 150 x 140 a pixel is the mean of
    exactly 30 x 30 source pixels.
    """
    rows = _box_sums(source, height)
    sums = _box_sums(rows.T, width).T
    return to_bytes(sums / (source.size / (height * width)))


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
    """Blend the 2 x 2 source pixels around each pixel's centre, as ``tf.image.resize`` does by default.

    source: uint8 [h, w] -> uint8 [height, width], rounded half up. Half-pixel centres and no antialiasing: all other
    source pixels are never looked at.
    """
    return blend(source, Neighbours.of(source.shape[0], height), Neighbours.of(source.shape[1], width))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each pixel along an axis: the two source lines around its centre, and how much the second one weighs."""

    first: Indices
    second: Indices
    weight: npt.NDArray[np.float32]  # of the second, 0-1

    @classmethod
    def of(cls, n: int, count: int) -> Neighbours:
        """Spread `count` pixels over `n` source lines."""
        centre = np.clip((np.arange(count) + 0.5) * n / count - 0.5, 0, n - 1)
        first = centre.astype(np.int64)
        weight = (centre - first).astype(np.float32)
        return cls(first, first + (weight > 0), weight)

    def lines(self) -> Indices:
        """The source lines that any pixel looks at, ascending."""
        return np.union1d(self.first, self.second)

    def within(self, lines: Indices) -> Neighbours:
        """The same neighbours, counted among `lines` alone."""
        return Neighbours(np.searchsorted(lines, self.first), np.searchsorted(lines, self.second), self.weight)


def blend(values: npt.NDArray[np.uint8] | npt.NDArray[np.float32], down: Neighbours, across: Neighbours) -> Bytes:
    """Interpolate [lines, lines] `values` to uint8 [height, width], rounded half up."""
    second, first = down.weight[:, None], 1 - down.weight[:, None]
    rows = values[down.first] * first + values[down.second] * second
    return to_bytes(rows[:, across.first] * (1 - across.weight) + rows[:, across.second] * across.weight)


def to_bytes(grey: npt.NDArray[np.floating]) -> Bytes:
    """Round 0-255 half up to uint8."""
    return np.floor(grey + 0.5).astype(np.uint8)
