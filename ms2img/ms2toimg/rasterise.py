"""The fast painter: the discs of the scatter plot, in the same order, without drawing the figure.

*Area*. Each pixel is divided into tiles of 8 x 8 samples, and a tile is one 64-bit word that says which of its samples
are taken. Discs are painted from the last to the first, so a sample belongs to the first disc that claims it and is
never painted twice: what a disc adds to a pixel is its grey times the number of new bits. The fragments of a spectrum
share their column and size, hence one mask, shifted to each fragment's row.

*Bilinear*. Only the source pixels next to a pixel's centre matter, so only those are painted, first to last.

Samples are counted in integers and floats are never contracted, so that equal points give equal bytes on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.points import Points
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.resize import Bytes, Indices, Neighbours, blend

TILE = 8  # samples a tile's side: 8 x 8 bits are one word
SUBROWS = 3  # places a row of samples is measured at; with one, the smallest discs would lose 3 % of their area
MIN_TILE_SIDE = 4.0  # source pixels: however small the discs, samples lie no closer than half a source pixel
MAX_TILES_LOG2 = 8  # tiles a pixel's side: the greys of a pixel's samples then still sum to 32 bits
POINTS_PER_INCH = 72

Words = npt.NDArray[np.uint64]

# Numba gives unsigned words only to unsigned operands.
W0, W1, W2, W3, W4, W7, W56, W63 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 7, 56, 63))
_EACH_2, _EACH_4, _EACH_8 = (np.uint64(n) for n in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
_ONES, _TILE_ROW = np.uint64(0x0101010101010101), np.uint64(0xFF)


class Plane(NamedTuple):
    """The figure laid on a grid of `height` x `width` cells: where centres and edges of discs fall, in cells."""

    height: int
    width: int
    precursor_from: float  # m/z at column 0
    fragment_from: float  # m/z at row 0
    columns_per_mz: float
    rows_per_mz: float
    columns_per_pt: float
    rows_per_pt: float
    area_at_0: float  # pt^2, marker area at size 0
    area_at_1: float

    @classmethod
    def of(cls, config: RenderConfig, height: int, width: int) -> Plane:
        """Divide the figure of `config` into `height` x `width` cells."""
        source_height, source_width = config.source_shape
        return cls(
            height=height,
            width=width,
            precursor_from=config.precursor_mz[0],
            fragment_from=config.fragment_mz[0],
            columns_per_mz=width / (config.precursor_mz[1] - config.precursor_mz[0]),
            rows_per_mz=height / (config.fragment_mz[1] - config.fragment_mz[0]),
            columns_per_pt=width / source_width * config.dpi / POINTS_PER_INCH,
            rows_per_pt=height / source_height * config.dpi / POINTS_PER_INCH,
            area_at_0=config.area_min_pt2,
            area_at_1=config.area_max_pt2,
        )


def paint_area(points: Points, config: RenderConfig) -> Bytes:
    """The points as an image, each pixel the mean over its area: uint8 [height, width], rounded half up."""
    down, across = tiles_log2(config)
    plane = Plane.of(config, (config.height << down) * TILE, (config.width << across) * TILE)
    sums = _paint_tiles(points.precursor_mz, points.fragment_mz, points.size, points.grey, plane, down, across)
    bits = down + across + 6  # a pixel has 2^bits samples
    return np.ascontiguousarray(((sums + (1 << (bits - 1))) >> bits).astype(np.uint8).T)


def paint_bilinear(points: Points, config: RenderConfig) -> Bytes:
    """The points as an image, each pixel blended from four source pixels at its centre: uint8 [height, width]."""
    source_height, source_width = config.source_shape
    down, across = Neighbours.of(source_height, config.height), Neighbours.of(source_width, config.width)
    rows, columns = down.lines(), across.lines()
    plane = Plane.of(config, source_height, source_width)
    painted = _paint_lines(points.precursor_mz, points.fragment_mz, points.size, points.grey, plane, rows, columns)
    return blend(painted, down.within(rows), across.within(columns))


def tiles_log2(config: RenderConfig) -> tuple[int, int]:
    """Tiles a pixel, down and across, as powers of two: few enough, but no tile larger than the smallest disc."""
    smallest_disc = math.sqrt(config.area_min_pt2) * config.dpi / POINTS_PER_INCH
    largest_tile = max(smallest_disc, MIN_TILE_SIDE)
    source_height, source_width = config.source_shape
    down = math.ceil(math.log2(source_height / config.height / largest_tile))
    across = math.ceil(math.log2(source_width / config.width / largest_tile))
    return min(max(down, 0), MAX_TILES_LOG2), min(max(across, 0), MAX_TILES_LOG2)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keeping the machine code where numba finds a folder it may write to."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache folder: compile anew in each process
        return numba.njit(nogil=True)(function)


@compiled
def _paint_tiles(
    precursor_mz: Floats, fragment_mz: Floats, size: Floats, grey: Floats, plane: Plane, down: int, across: int
) -> npt.NDArray[np.uint32]:
    """Sum of greys over the samples of each pixel: uint32 [width, height]."""
    n = len(precursor_mz)
    half_rows_at_1 = math.ceil(marker_radius_pt(plane, 1.0) * plane.rows_per_pt)
    margin = ((half_rows_at_1 // 4 + 2) >> down) + 1  # pixels above and below the image, so that no disc needs clipping
    height, width = plane.height // TILE >> down, plane.width // TILE >> across
    taken = np.zeros((width << across, (height + 2 * margin) << down), np.uint64)
    sums = np.zeros((width, height + 2 * margin), np.uint32)
    row = np.empty(n, np.uint64)
    level = np.empty(n, np.uint32)
    for i in range(n):
        level[i] = _level(size[i], grey[i])
        y = (fragment_mz[i] - plane.fragment_from) * plane.rows_per_mz
        if not 0 <= y <= plane.height:
            raise ValueError("a point lies outside the fragment axis")
        row[i] = int(y + 0.5) + (margin * TILE << down)
    span_from = np.empty(2 * half_rows_at_1, np.int64)
    span_to = np.empty(2 * half_rows_at_1, np.int64)
    mask = np.empty(half_rows_at_1 // 4 + 2, np.uint64)

    end = n
    while end > 0:
        start = end - 1  # points[start:end] share column and size
        while start > 0 and precursor_mz[start - 1] == precursor_mz[end - 1] and size[start - 1] == size[end - 1]:
            start -= 1
        x = (precursor_mz[start] - plane.precursor_from) * plane.columns_per_mz
        if not 0 <= x <= plane.width:
            raise ValueError("a point lies outside the precursor axis")
        radius_pt = marker_radius_pt(plane, size[start])
        rx = radius_pt * plane.columns_per_pt
        half_rows = spans(x, rx, radius_pt * plane.rows_per_pt, span_from, span_to)
        words = (2 * half_rows + TILE - 1) // TILE
        for tile in range(max(0, int(x - rx) // TILE), min(len(taken), int(x + rx + 0.5) // TILE + 1)):
            tile_mask(tile * TILE, half_rows, span_from, span_to, mask)
            column, column_sums = taken[tile], sums[tile >> across]
            for i in range(end - 1, start - 1, -1):
                top = row[i] - np.uint64(half_rows)
                shift = (top & W7) << W3  # a tile row is a byte
                word = top >> W3
                carry = W0
                for k in range(words + 1):
                    disc = (mask[k] << shift) | carry
                    carry = mask[k] >> W1 >> (W63 - shift)  # by 64 - shift, which may be 64
                    new = disc & ~column[word]
                    column[word] |= disc
                    column_sums[word >> np.uint64(down)] += level[i] * np.uint32(popcount(new))
                    word += W1
        end = start
    return sums[:, margin : margin + height]


@compiled
def _level(size: float, grey: float) -> int:
    """Grey of a point in 256 levels, as `ms2img.ms2toimg.points.grey_levels`."""
    if not (0 <= size <= 1 and 0 <= grey <= 1):
        raise ValueError("size and grey of a point lie in 0-1")
    return int(grey * 255 + 0.5)


@compiled
def marker_radius_pt(plane: Plane, size: float) -> float:
    """Radius of a marker in pt; its area is that of the square around it, as matplotlib counts."""
    return math.sqrt(plane.area_at_0 + (plane.area_at_1 - plane.area_at_0) * size) / 2


@compiled
def spans(x: float, rx: float, ry: float, span_from: Indices, span_to: Indices) -> int:
    """Fill the columns [from, to) of a disc about column `x`, row by row from the top; return half its rows.

    A row is as long as the disc is wide on average over that row's height.
    """
    half_rows = math.ceil(ry)
    for k in range(2 * half_rows):
        chord = 0.0
        for j in range(SUBROWS):
            d = (k - half_rows + (j + 0.5) / SUBROWS) / ry
            chord += rx * math.sqrt(max(0.0, 1 - d * d)) / SUBROWS
        span_from[k] = math.floor(x - chord + 0.5)
        span_to[k] = math.floor(x + chord + 0.5)
    return half_rows


@compiled
def tile_mask(left: int, half_rows: int, span_from: Indices, span_to: Indices, mask: Words) -> None:
    """Fill `mask` with the disc's samples in the tiles whose first column is `left`: a byte a row."""
    mask[:] = W0
    for k in range(2 * half_rows):
        a, b = max(span_from[k] - left, 0), min(span_to[k] - left, TILE)
        if a < b:
            mask[k // TILE] |= _TILE_ROW >> np.uint64(TILE - (b - a)) << np.uint64(a + k % TILE * TILE)


@compiled
def popcount(word: np.uint64) -> np.uint64:
    """Bits set in a word, in the form that LLVM turns into one instruction."""
    word -= (word >> W1) & _EACH_2
    word = (word & _EACH_4) + ((word >> W2) & _EACH_4)
    return (((word + (word >> W4)) & _EACH_8) * _ONES) >> W56


@compiled
def _paint_lines(
    precursor_mz: Floats, fragment_mz: Floats, size: Floats, grey: Floats, plane: Plane, rows: Indices, columns: Indices
) -> npt.NDArray[np.float32]:
    """Grey of the source pixels where `rows` and `columns` (ascending) cross: float32 [rows, columns].

    As in Agg, the library matplotlib draws with, a disc's edge blends in proportion to its cover of a pixel.
    """
    painted = np.zeros((len(rows), len(columns)), np.float32)
    first_row = np.searchsorted(rows, np.arange(plane.height + 1))
    first_column = np.searchsorted(columns, np.arange(plane.width + 1))
    for i in range(len(precursor_mz)):
        if i == 0 or precursor_mz[i] != precursor_mz[i - 1] or size[i] != size[i - 1]:  # the next spectrum
            x = (precursor_mz[i] - plane.precursor_from) * plane.columns_per_mz
            reach = marker_radius_pt(plane, size[i]) * plane.rows_per_pt + 0.5
            left = first_column[max(0, int(x - reach))]
            right = first_column[min(plane.width, int(x + reach) + 1)]
        y = (fragment_mz[i] - plane.fragment_from) * plane.rows_per_mz
        if not (0 <= x <= plane.width and 0 <= y <= plane.height):
            raise ValueError("a point lies outside the axes")
        level = _level(size[i], grey[i])
        if left == right:
            continue
        for a in range(first_row[max(0, int(y - reach))], first_row[min(plane.height, int(y + reach) + 1)]):
            dy = rows[a] + 0.5 - y
            for b in range(left, right):
                dx = columns[b] + 0.5 - x
                cover = min(1.0, reach - math.sqrt(dx * dx + dy * dy))
                if cover > 0:
                    painted[a, b] += cover * (level - painted[a, b])
    return painted
