"""Collision energy and where peaks lie: Fig. 3 over a part, Fig. 4 of one molecule (MassFormer, section 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from ms2img.massformer.evaluate.energy_curve import energy_curve, rank_correlation
from pipelines.figures_style import MUTED, PREDICTED, REAL, new_figure, plain, png

CELLS = 28  # hexagons along the energy axis
QUANTILES = (0.005, 0.995)  # the axes leave out what is beyond
PEAK = 0.005  # of the base peak, the least that is drawn
CLOSE_UP = 1.08  # the m/z axis ends so far above the precursor


@dataclass(frozen=True)
class EnergyPanel:
    """A spectrum of Fig. 4: untransformed [bins], its title, whether it is real."""

    spectrum: NDArray[np.float32]
    title: str
    is_real: bool


def joint_distribution(
    energy: NDArray[np.float64], real: NDArray[np.float64], predicted: NDArray[np.float64], *, unit: str = "NCE"
) -> bytes:
    """Fig. 3 as PNG: mean peak m/z [n] against energy [n], real left, predicted right, with medians and quartiles."""
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    known = np.isfinite(energy) & np.isfinite(real) & np.isfinite(predicted)
    spans = [np.quantile(each, QUANTILES) for each in (energy[known], np.r_[real[known], predicted[known]])]
    (low, high), (bottom, top) = (_widened(*span) for span in spans)
    drawn: list[PolyCollection] = []
    for axes, value, title, colour in ((left, real, "real", REAL), (right, predicted, "predicted", PREDICTED)):
        shown = axes.hexbin(
            energy[known],
            value[known],
            gridsize=CELLS,
            extent=(low, high, bottom, top),
            mincnt=1,
            cmap="Greys",
            linewidths=0.2,
        )
        drawn.append(shown)
        curve = energy_curve(energy, np.where(known, value, np.nan))
        axes.plot(curve.energy, curve.median, color=colour, marker="o", markersize=4, linewidth=1.6, label="median")
        axes.fill_between(curve.energy, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0, label="quartiles")
        rho = rank_correlation(energy[known], value[known])
        axes.set_title(f"{title}: rank correlation {rho:+.2f}")
        axes.set_xlabel(f"collision energy ({unit})")
        axes.set_xlim(low, high)
        axes.set_ylim(bottom, top)
        axes.legend(fontsize=8, frameon=False)
        plain(axes)
    left.set_ylabel("mean peak m/z, by intensity")
    scale = LogNorm(1, max(2.0, *(float(np.max(np.asarray(each.get_array()))) for each in drawn)))
    for each in drawn:
        each.set_norm(scale)
    bar = figure.colorbar(drawn[0], ax=[left, right], shrink=0.8, pad=0.01)
    bar.set_label("spectra in a hexagon", size=8)
    bar.ax.tick_params(labelsize=7)
    return png(figure)


def over_energies(panels: Sequence[EnergyPanel], *, precursor_mz: float, bin_width: float, title: str) -> bytes:
    """Fig. 4 as PNG: spectra of one molecule, one below the other, real ones blue and predicted ones red."""
    figure = new_figure(7.6, 0.5 + 1.35 * len(panels))
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        sticks(axes, panel.spectrum, bin_width=bin_width, colour=REAL if panel.is_real else PREDICTED)
        axes.axvline(precursor_mz, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.set_ylim(0, 1.08)
        axes.set_yticks([0, 0.5, 1])
        plain(axes)
    rows[-1].set_xlim(0, precursor_mz * CLOSE_UP)
    rows[-1].set_xlabel("m/z (dotted: the precursor)")
    figure.supylabel("relative intensity", fontsize=9)
    figure.suptitle(title, fontsize=9)
    return png(figure)


def sticks(axes: Axes, spectrum: NDArray[np.float32], *, bin_width: float, colour: str, down: bool = False) -> None:
    """A binned spectrum [bins] as lines from 0, its base peak at 1, or at -1 with `down`."""
    top = float(spectrum.max())
    shown = np.flatnonzero(spectrum > PEAK * top) if top > 0 else np.empty(0, dtype=np.intp)
    height = spectrum[shown] / top * (-1 if down else 1) if top > 0 else np.empty(0)
    axes.vlines((shown + 0.5) * bin_width, 0, height, color=colour, linewidth=1.3)


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = 0.04 * (high - low) or 1.0
    return max(0.0, low - margin), high + margin
