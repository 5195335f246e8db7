"""The paper's own way: a matplotlib scatter plot, drawn large and resized. Slow; the oracle of the fast painter."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ms2img.ms2toimg.points import Points, grey_levels
from ms2img.ms2toimg.render_config import RenderConfig
from ms2img.ms2toimg.resize import Bytes, resize_area, resize_bilinear


def draw_scatter(points: Points, config: RenderConfig) -> Bytes:
    """Draw the figure: uint8 [h, w] of `RenderConfig.source_shape`, row 0 at the low end of the fragment axis.

    Discs without edge on black, in the order of the points, so that later ones cover earlier ones.
    """
    height, width = config.source_shape
    # Matplotlib cuts sides to whole pixels; a millionth more keeps it from cutting one off after rounding.
    inches = (width + 1e-6) / config.dpi, (height + 1e-6) / config.dpi
    figure = Figure(figsize=inches, dpi=config.dpi, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(*config.precursor_mz)
    axes.set_ylim(*config.fragment_mz)
    grey = grey_levels(points.grey)[:, None] / 255
    area = config.area_min_pt2 + (config.area_max_pt2 - config.area_min_pt2) * points.size
    axes.scatter(
        points.precursor_mz, points.fragment_mz, s=area, c=np.repeat(grey, 3, axis=1), marker="o", linewidths=0
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, 0]


def paint_scatter(points: Points, config: RenderConfig) -> Bytes:
    """`draw_scatter` resized by `config.resize`: uint8 [height, width]."""
    shrink = resize_area if config.resize == "area" else resize_bilinear
    return shrink(draw_scatter(points, config), config.height, config.width)
