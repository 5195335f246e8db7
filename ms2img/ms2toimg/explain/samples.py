"""The samples of the area painter, told apart: which disc each belongs to.

The same tiles, masks and order as `ms2img.ms2toimg.rasterise`, which counts the samples' grey; here they are counted by
point, so that grey levels times counts give that painter's sums to the last bit (a test).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.points import Points
from ms2img.ms2toimg.rasterise import (
    TILE,
    W0,
    W1,
    W3,
    W7,
    W63,
    Plane,
    compiled,
    marker_radius_pt,
    popcount,
    spans,
    tile_mask,
    tiles_log2,
)
from ms2img.ms2toimg.render_config import RenderConfig

Integers = npt.NDArray[np.int64]


def own_samples(points: Points, config: RenderConfig) -> tuple[Integers, Integers, Floats]:
    """Each point with the pixels it is seen in and how much of the pixel it is: (point, pixel, share 0-1), each [k].

    A pixel's number is row * width + column. The share is of all samples of the pixel.
    """
    down, across = tiles_log2(config)
    plane = Plane.of(config, (config.height << down) * TILE, (config.width << across) * TILE)
    n, point, row, column, samples = _claims(points.precursor_mz, points.fragment_mz, points.size, plane, down, across)
    point, row, column, samples = point[:n], row[:n], column[:n], samples[:n]
    inside = (row >= 0) & (row < config.height)
    n_pixels = config.height * config.width
    entry = (point * n_pixels + row * config.width + column)[inside]
    entries, of_entry = np.unique(entry, return_inverse=True)
    share = np.bincount(of_entry, weights=samples[inside], minlength=len(entries)) / (1 << (down + across + 6))
    return entries // n_pixels, entries % n_pixels, share


@compiled
def _claims(
    precursor_mz: Floats, fragment_mz: Floats, size: Floats, plane: Plane, down: int, across: int
) -> tuple[int, Integers, Integers, Integers, Integers]:
    """Every tile that a disc is seen in: how many, then point, pixel row, pixel column and samples, longer than that.

    Rows are counted from the image's first; those outside it are of the margin.
    """
    half_rows_at_1 = math.ceil(marker_radius_pt(plane, 1.0) * plane.rows_per_pt)
    margin = ((half_rows_at_1 // 4 + 2) >> down) + 1  # as the painter's: no disc needs clipping
    height, width = plane.height // TILE >> down, plane.width // TILE >> across
    taken = np.zeros((width << across, (height + 2 * margin) << down), np.uint64)
    span_from = np.empty(2 * half_rows_at_1, np.int64)
    span_to = np.empty(2 * half_rows_at_1, np.int64)
    mask = np.empty(half_rows_at_1 // 4 + 2, np.uint64)
    found = np.empty((4, 1024), np.int64)
    n = 0
    for i in range(len(precursor_mz) - 1, -1, -1):
        x = (precursor_mz[i] - plane.precursor_from) * plane.columns_per_mz
        y = (fragment_mz[i] - plane.fragment_from) * plane.rows_per_mz
        radius_pt = marker_radius_pt(plane, size[i])
        rx = radius_pt * plane.columns_per_pt
        half_rows = spans(x, rx, radius_pt * plane.rows_per_pt, span_from, span_to)
        words = (2 * half_rows + TILE - 1) // TILE
        top = np.uint64(int(y + 0.5) + (margin * TILE << down) - half_rows)
        shift = (top & W7) << W3
        for tile in range(max(0, int(x - rx) // TILE), min(len(taken), int(x + rx + 0.5) // TILE + 1)):
            tile_mask(tile * TILE, half_rows, span_from, span_to, mask)
            word = top >> W3
            carry = W0
            for k in range(words + 1):
                disc = (mask[k] << shift) | carry
                carry = mask[k] >> W1 >> (W63 - shift)
                new = disc & ~taken[tile, word]
                if new:
                    taken[tile, word] |= disc
                    if n == found.shape[1]:
                        longer = np.empty((4, 2 * n), np.int64)
                        longer[:, :n] = found
                        found = longer
                    found[0, n] = i
                    found[1, n] = np.int64(word >> np.uint64(down)) - margin
                    found[2, n] = tile >> across
                    found[3, n] = np.int64(popcount(new))
                    n += 1
                word += W1
    return n, found[0], found[1], found[2], found[3]
