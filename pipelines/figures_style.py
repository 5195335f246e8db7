"""How figures of evaluations look: one size of type, two colours, PNG without a display."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

REAL = "#0072b2"  # Okabe and Ito's blue: as the paper's Fig. 4
PREDICTED = "#d55e00"  # their vermilion
MUTED = "#56606b"
#: Of attention, low to high: viridis without its darkest third, on which black letters could not be read.
ATTENTION = mpl.colormaps["viridis"]
ATTENTION_FROM = 0.3
DPI = 130


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, its parts kept from touching."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """No box around the data, small type."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    axes.title.set_fontsize(9)


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal figures give equal bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
