"""Points to one grey image, by either painter."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ms2img.ms2toimg.points import Points
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.resize import Bytes

#: Raise by one whenever any pixel of any configuration changes: converted data sets are then converted anew.
#: tests/test_render.py holds the hashes that notice.
STAGE_VERSION = 1


def render(points: Points, config: RenderConfig) -> Bytes:
    """Paint the points: uint8 [height, width], row 0 at the low end of the fragment axis, column 0 of the precursor's.

    Equal points and config give equal bytes on any machine (the matplotlib renderer: with equal matplotlib versions).
    Raises `ValueError` for a point outside the axes or a size or grey outside 0-1: a defect of the caller, since
    `points_from_spectra` makes none. The first call of a process compiles or loads the fast painter.
    """
    return mask_above_precursor(_painter(config)(points, config), config)


def mask_above_precursor(image: Bytes, config: RenderConfig) -> Bytes:
    """The image with pixels wholly above the diagonal at 0, unless the config keeps them: uint8 [height, width]."""
    return image if config.keep_above_precursor else image * _below_diagonal(config)


def _painter(config: RenderConfig) -> Callable[[Points, RenderConfig], Bytes]:
    # Imported where needed: one takes numba, the other matplotlib.
    if config.renderer == "matplotlib":
        from ms2img.ms2toimg.scatter import paint_scatter

        return paint_scatter
    from ms2img.ms2toimg.rasterise import paint_area, paint_bilinear

    return paint_area if config.resize == "area" else paint_bilinear


@functools.lru_cache(maxsize=8)
def _below_diagonal(config: RenderConfig) -> Bytes:
    """1 where a pixel reaches below the diagonal fragment = precursor, 0 where it lies wholly above.

    uint8 [height, width]. Both sides are multiplied by height and width: exact for axes that end at whole m/z.
    """
    (precursor_from, precursor_to), (fragment_from, fragment_to) = config.precursor_mz, config.fragment_mz
    bottom = fragment_from * config.height + np.arange(config.height) * (fragment_to - fragment_from)
    right = precursor_from * config.width + np.arange(1, config.width + 1) * (precursor_to - precursor_from)
    mask = (bottom[:, None] * config.width < right * config.height).astype(np.uint8)
    mask.flags.writeable = False
    return mask
