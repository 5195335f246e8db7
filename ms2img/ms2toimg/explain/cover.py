"""Which point is responsible for how much of which pixel, told by the painters themselves.

Discs are opaque, so a pixel is a sum over the points that are seen in it: grey of the point times the share of the
pixel where it is the uppermost. That sum is what is taken apart here.

*Area*. The fast painter's own samples, each of which belongs to the last disc drawn over it: exact, the sum is the
image. *Bilinear*. Points far enough apart are painted at full grey, all others black but still covering: what is lit is
theirs, to one grey level. Images of the matplotlib renderer are taken apart by the fast painter of the same resize
rule, which draws the same discs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ms2img.ms2toimg.explain.samples import own_samples
from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.points import Points, grey_levels
from ms2img.ms2toimg.rasterise import POINTS_PER_INCH
from ms2img.ms2toimg.render import mask_above_precursor, render
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.resize import Bytes

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cover:
    """Entry k says that `light[k]` of the brightness of `pixel[k]` is that of `point[k]`.

    A pixel's number is row * width + column; `light` is above 0, in grey levels (0-255). Sorted by point, then pixel.
    """

    n_points: int
    shape: tuple[int, int]
    point: Integers  # [k]
    pixel: Integers  # [k]
    light: Floats  # [k]

    def image(self) -> Floats:
        """The image that the entries add up to, before it is rounded to 256 levels: float64 [height, width], 0-255."""
        return self._light_of_pixels().reshape(self.shape)

    def brightness(self) -> Floats:
        """What each point adds to the image, grey levels summed over pixels: float64 [n_points]."""
        return _sums(self.point, self.light, self.n_points)

    def split(self, pixels: Floats) -> Floats:
        """Share out a value a pixel [height, width] among the points, in proportion to their light: [n_points].

        Conserved: the sum over points is the sum over the pixels that have light. A pixel without keeps its value.
        """
        weight = self.light / self._light_of_pixels()[self.pixel]
        return _sums(self.point, weight * pixels.ravel()[self.pixel], self.n_points)

    def _light_of_pixels(self) -> Floats:
        return _sums(self.pixel, self.light, self.shape[0] * self.shape[1])


def cover_of(points: Points, config: RenderConfig) -> Cover:
    """Take the image of `points` apart, see the module; numba compiles on the first call."""
    if config.resize == "area":
        point, pixel, seen = own_samples(points, config)
        light = seen * grey_levels(points.grey)[point]  # exact: a share is a multiple of a power of two
    else:
        point, pixel, light = _isolated(points, config)
    unmasked = mask_above_precursor(np.ones((config.height, config.width), np.uint8), config).ravel()
    kept = (light > 0) & (unmasked[pixel] > 0)
    order = np.lexsort((pixel[kept], point[kept]))
    return Cover(
        n_points=points.n_fragments,
        shape=(config.height, config.width),
        point=point[kept][order],
        pixel=pixel[kept][order],
        light=light[kept][order],
    )


def _sums(group: Integers, values: Floats, n: int) -> Floats:
    """Sum of the values of each group: float64 [n]."""
    return np.bincount(group, weights=values, minlength=n).astype(np.float64)


def _isolated(points: Points, config: RenderConfig) -> tuple[Integers, Integers, Floats]:
    """(point, pixel, light) by painting a layer of points at a time, where no two of a layer share a pixel."""
    top, bottom, left, right = _boxes(points, config)
    layer = _layers(top, bottom, left, right, config)
    fast = config.model_copy(update={"renderer": "fast"})
    found: list[tuple[Integers, Integers, Floats]] = []
    for number in range(int(layer.max()) + 1):
        members = np.flatnonzero(layer == number)
        white = np.zeros(points.n_fragments)
        white[members] = 1.0
        lit = render(replace(points, grey=white), fast)
        found += [
            _of_box(lit, i, slice(top[i], bottom[i]), slice(left[i], right[i]), float(points.grey[i]))
            for i in members.tolist()
        ]
    point, pixel, light = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return point, pixel, light


def _of_box(lit: Bytes, point: int, rows: slice, columns: slice, grey: float) -> tuple[Integers, Integers, Floats]:
    """The entries of one point from its box of pixels."""
    box = lit[rows, columns]
    row, column = np.nonzero(box)
    pixel = (row + rows.start) * lit.shape[1] + column + columns.start
    light = (box[row, column] * grey).astype(np.float64)
    return np.full(len(row), point, np.int64), pixel.astype(np.int64), light


def _boxes(points: Points, config: RenderConfig) -> tuple[Integers, Integers, Integers, Integers]:
    """Pixels that a point can light, as half-open ranges: top, bottom, left, right, each int64 [n]."""
    area = config.area_min_pt2 + (config.area_max_pt2 - config.area_min_pt2) * points.size
    reach = np.sqrt(area) / 2 * config.dpi / POINTS_PER_INCH + 2  # source pixels; two for edges and blending
    height, width = config.source_shape
    top, bottom = _range(points.fragment_mz, config.fragment_mz, reach, height, config.height)
    left, right = _range(points.precursor_mz, config.precursor_mz, reach, width, config.width)
    return top, bottom, left, right


def _range(
    mz: Floats, axis: tuple[float, float], reach: Floats, n_source: int, count: int
) -> tuple[Integers, Integers]:
    """Pixels [from, to) along an axis of `count` that lie within `reach` source pixels of each m/z, one to spare."""
    centre = (mz - axis[0]) / (axis[1] - axis[0]) * n_source
    start = np.floor((centre - reach) * count / n_source) - 1
    end = np.ceil((centre + reach) * count / n_source) + 1
    return np.clip(start, 0, count).astype(np.int64), np.clip(end, 0, count).astype(np.int64)


def _layers(top: Integers, bottom: Integers, left: Integers, right: Integers, config: RenderConfig) -> Integers:
    """A layer for each point, the first whose boxes do not touch its own: int64 [n]."""
    taken: list[npt.NDArray[np.bool_]] = []
    layer = np.zeros(len(top), np.int64)
    for i, box in enumerate(zip(top, bottom, left, right, strict=True)):
        rows, columns = slice(box[0], box[1]), slice(box[2], box[3])
        free = (number for number, grid in enumerate(taken) if not grid[rows, columns].any())
        layer[i] = next(free, len(taken))
        if layer[i] == len(taken):
            taken.append(np.zeros((config.height, config.width), np.bool_))
        taken[layer[i]][rows, columns] = True
    return layer
