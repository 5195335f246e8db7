"""The picture of an explanation: the run's image in grey, what each pixel did to the score, the top pairs by number."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from ms2img.ms2toimg.explain.explanation import Explanation
from ms2img.ms2toimg.predictor import Predictor
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.explain_words import pair_line, score_line

SIZE_IN, DPI = (12.5, 8.0), 110
COLOURS = "RdBu_r"  # red towards active, blue against: told apart by readers with any kind of colour vision
STRONGEST = 99.5  # percentile of the lit pixels that has full colour, so that one pixel cannot pale all others
BIN_GREY = 0.75  # of the image's blackest pixel, so that colour stays visible on it
RING_POINTS = 11.0  # diameter of the ring around a pair
LISTED = 20  # pairs in words beside the image
MONOSPACE = "DejaVu Sans Mono"  # the font that comes with matplotlib


def draw(
    found: Explanation, predictor: Predictor, top: int, about: Mapping[str, Any], *, probability_without_top: float
) -> bytes:
    """The picture as PNG.

    Parameters
    ----------
    top: pairs to ring and number.
    about: ``model``, ``model_version``, ``assay``, ``simulated``.
    probability_without_top: the run's, drawn and scored without those pairs.
    """
    figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plane, words = figure.subplots(1, 2, width_ratios=(1.55, 1.0))
    _image(figure, plane, found, predictor.render)
    _rings(plane, found, top)
    _words(words, found, top, probability_without_top)
    simulated = "\nSIMULATED data: this says nothing of a real plant" if about["simulated"] else ""
    figure.suptitle(
        f"{found.sample_id}: {score_line(found, predictor.threshold, about['assay'])}\n"
        f"model {about['model']}, version {about['model_version']}{simulated}",
        fontsize=11,
        parse_math=False,
    )
    content = io.BytesIO()
    canvas.print_png(content)
    return content.getvalue()


def _image(figure: Figure, axes: Axes, found: Explanation, config: RenderConfig) -> None:
    """The image, dark where the run has signal, under the attributions; fragment m/z rises upwards."""
    extent = (*config.precursor_mz, *config.fragment_mz)
    grey = 1 - BIN_GREY * np.sqrt(found.image / 255)  # the root keeps faint pixels visible
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, origin="lower", extent=extent, aspect="auto", interpolation="none")
    pixels = found.attribution.pixels
    lit = np.abs(pixels[found.image > 0])
    limit = float(np.percentile(lit, STRONGEST)) if lit.size and lit.max() > 0 else 1.0
    limit = limit or float(lit.max())
    overlay = axes.imshow(
        pixels,
        cmap=COLOURS,
        norm=TwoSlopeNorm(0.0, -limit, limit),
        alpha=np.clip(np.abs(pixels) / limit, 0, 1) ** 0.5,
        origin="lower",
        extent=extent,
        aspect="auto",
        interpolation="none",
    )
    bar = figure.colorbar(overlay, ax=axes, shrink=0.6, extend="both", pad=0.02)
    bar.set_label("attribution of a pixel, logit; above 0: towards active")
    axes.set_xlabel("precursor m/z")
    axes.set_ylabel("fragment m/z")


def _rings(axes: Axes, found: Explanation, top: int) -> None:
    """A numbered ring around each of the top pairs."""
    shown = found.pairs.head(top)
    for rank, x, y in zip(shown["rank"], shown["precursor_mz"], shown["fragment_mz"], strict=True):
        axes.plot(x, y, "o", markersize=RING_POINTS, markerfacecolor="none", markeredgecolor="black", markeredgewidth=1)
        axes.annotate(
            str(rank),
            (x, y),
            xytext=_away(int(rank)),
            textcoords="offset points",
            fontsize=7,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )


def _away(rank: int) -> tuple[float, float]:
    """Where a ring's number stands: neighbours in rank, which are often neighbours in the plane, on different sides."""
    angle = rank * 2.399963  # the golden angle
    return 12.0 * float(np.cos(angle)), 12.0 * float(np.sin(angle))


def _words(axes: Axes, found: Explanation, top: int, probability_without_top: float) -> None:
    """The top pairs as text, and what is left of the score without them."""
    axes.set_axis_off()
    shown = min(top, len(found.pairs))
    lines = [
        "  #  precursor  fragment    RT s   share",
        *map(pair_line, found.pairs.head(min(shown, LISTED)).to_dict("records")),
        "",
        f"share: of the absolute attributions of all {len(found.pairs)} pairs",
        f"without the first {shown}: probability {probability_without_top:.3f}",
        f"attributions add up to {found.pairs['attribution'].sum():+.3f}",
        f"of a logit {found.attribution.logit - found.attribution.black_logit:+.3f} from an empty image's",
    ]
    axes.text(
        0.0, 1.0, "\n".join(lines), family=MONOSPACE, fontsize=8.5, va="top", linespacing=1.6, transform=axes.transAxes
    )
