"""Mirror plots with attention on the structure (Fig. 2), and heteroatoms against carbon (Fig. 5) of the paper."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from numpy.typing import NDArray
from PIL import Image

from ms2img.learn.intervals import Interval
from ms2img.massformer.molecule.drawing import draw_atoms
from pipelines.figures_style import (
    ATTENTION,
    ATTENTION_FROM,
    MUTED,
    PREDICTED,
    REAL,
    new_figure,
    plain,
    png,
)
from pipelines.massformer.figures_energy import CLOSE_UP, sticks

ACROSS = 2  # mirror plots side by side


@dataclass(frozen=True)
class Mirror:
    """One molecule of Fig. 2. predicted, real: untransformed [bins]; attention: [atoms], or None for other encoders."""

    smiles: str
    title: str
    predicted: NDArray[np.float32]
    real: NDArray[np.float32]
    precursor_mz: float
    attention: NDArray[np.float32] | None


def attention_colours(attention: NDArray[np.float32]) -> NDArray[np.float64]:
    """Red, green and blue of each atom [a, 3]: scaled from the molecule's least to its most, as the released code."""
    low, high = float(attention.min()), float(attention.max())
    scaled = (attention - low) / (high - low) if high > low else np.full(len(attention), 0.5)
    colours: NDArray[np.float64] = ATTENTION(ATTENTION_FROM + (1 - ATTENTION_FROM) * scaled)[:, :3]
    return colours


def mirrors(shown: Sequence[Mirror], *, bin_width: float) -> bytes:
    """Fig. 2 as PNG: of each molecule the predicted spectrum up, the real one down, and its structure below."""
    down = -(-len(shown) // ACROSS)
    figure = new_figure(9.2, 4.7 * down + 0.4)
    grid = figure.add_gridspec(2 * down + 1, ACROSS, height_ratios=[*([1.1, 1] * down), 0.05])
    for number, mirror in enumerate(shown):
        row, column = 2 * (number // ACROSS), number % ACROSS
        _mirror(figure.add_subplot(grid[row, column]), mirror, bin_width)
        _structure(figure.add_subplot(grid[row + 1, column]), mirror)
    if any(each.attention is not None for each in shown):
        colours = ListedColormap(ATTENTION(np.linspace(ATTENTION_FROM, 1, 256)))
        scale = ScalarMappable(Normalize(0, 1), colours)
        bar = figure.colorbar(scale, cax=figure.add_subplot(grid[-1, 0]), orientation="horizontal")
        bar.set_ticks([0, 1], labels=["least attention", "most, within a molecule"], fontsize=8)
        least, most = bar.ax.get_xticklabels()
        least.set_horizontalalignment("left")
        most.set_horizontalalignment("right")
    return png(figure)


def heteroatom_bars(ratios: Mapping[str, Interval], *, title: str) -> bytes:
    """Fig. 5 as PNG: attention on each element over that on carbon, with 95 % intervals over molecules."""
    figure = new_figure(5.6, 3.4)
    axes = figure.subplots()
    place = np.arange(len(ratios))
    means = np.array([each.mean for each in ratios.values()])
    ends = np.array([[each.mean - each.low, each.high - each.mean] for each in ratios.values()]).T
    axes.bar(place, means, color=PREDICTED, alpha=0.75, width=0.62)
    axes.errorbar(place, means, yerr=ends, fmt="none", ecolor="black", elinewidth=1, capsize=4)
    axes.axhline(1, color=MUTED, linewidth=1, linestyle="--")
    axes.annotate("carbon", (len(ratios) - 0.6, 1), textcoords="offset points", xytext=(4, 3), fontsize=8, color=MUTED)
    axes.set_xticks(place, labels=[f"{symbol}\nn = {each.n}" for symbol, each in ratios.items()])
    axes.set_xlim(-0.6, len(ratios) - 0.1)
    axes.set_ylabel("attention over that on carbon")
    axes.set_title(title)
    plain(axes)
    return png(figure)


def _mirror(axes: Axes, mirror: Mirror, bin_width: float) -> None:
    sticks(axes, mirror.predicted, bin_width=bin_width, colour=PREDICTED)
    sticks(axes, mirror.real, bin_width=bin_width, colour=REAL, down=True)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(mirror.precursor_mz, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, mirror.precursor_mz * CLOSE_UP)
    axes.set_ylim(-1.1, 1.1)
    axes.set_yticks([-1, 0, 1], labels=["1", "0", "1"])
    axes.text(0.01, 0.97, "predicted", transform=axes.transAxes, va="top", fontsize=8, color=PREDICTED)
    axes.text(0.01, 0.03, "real", transform=axes.transAxes, va="bottom", fontsize=8, color=REAL)
    axes.set_xlabel("m/z (dotted: the precursor)")
    axes.set_title(mirror.title)
    plain(axes)


def _structure(axes: Axes, mirror: Mirror) -> None:
    colours = attention_colours(mirror.attention) if mirror.attention is not None else None
    axes.imshow(np.asarray(Image.open(io.BytesIO(draw_atoms(mirror.smiles, colours)))))
    axes.axis("off")
