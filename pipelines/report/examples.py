"""Figure 1: example images with their axes, as pictures that a browser and a printer draw crisply."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from pipelines.report.classes import Classes
from pipelines.report.svg import Span, nice_ticks, tick_text

GAMMA = 0.5  # drawn darkness = (pixel / 255) ** GAMMA (ours): faint fragments are seen on paper too
PLOT_WIDTH = 200.0  # user units of an image's width: two pictures side by side on a phone keep readable ticks
LEFT, RIGHT, TOP, BOTTOM = 62.0, 20.0, 8.0, 46.0


@dataclass(frozen=True)
class Example:
    """One run's picture and what is said below it."""

    svg: Markup
    caption: str


def example_groups(
    images: Mapping[str, np.ndarray], summary: Mapping[str, Any], classes: Classes
) -> list[tuple[str, list[Example]]]:
    """The examples as (class name, pictures), the class of high values first; classes without an example are left out.

    `images`: sample_id -> uint8 [H, W]; ``summary["examples"]``: sample_id -> accession, value, target.
    """
    groups: dict[int, list[Example]] = {1: [], 0: []}
    for sample_id, image in images.items():
        about = summary["examples"][sample_id]
        target, value = int(about["target"]), float(about["value"])
        said = f"{about['accession']}, {summary['label']['assay']} {value:.4g}"
        svg = image_figure(
            image,
            precursor_mz=tuple(summary["render"]["precursor_mz"]),
            fragment_mz=tuple(summary["render"]["fragment_mz"]),
            alt=f"MS/MS image of {sample_id} ({classes.name(target)}): fragment m/z against precursor m/z",
        )
        groups[target].append(Example(svg, f"{sample_id} ({said})" if about["accession"] != sample_id else said))
    order = (1, 0) if classes.active == "high" else (0, 1)
    return [
        (f"{classes.name(target).capitalize()} {summary['label']['assay']}", groups[target])
        for target in order
        if groups[target]
    ]


def image_figure(image: np.ndarray, *, precursor_mz: Span, fragment_mz: Span, alt: str) -> Markup:
    """The image with its m/z axes and the line fragment = precursor, above which nothing can lie."""
    rows, columns = image.shape
    width, height = PLOT_WIDTH, PLOT_WIDTH * rows / columns
    bottom = TOP + height

    def across(mz: float) -> float:
        return LEFT + (mz - precursor_mz[0]) / (precursor_mz[1] - precursor_mz[0]) * width

    def down(mz: float) -> float:
        return bottom - (mz - fragment_mz[0]) / (fragment_mz[1] - fragment_mz[0]) * height

    data = base64.b64encode(negative_png(image)).decode("ascii")
    shared = max(precursor_mz[0], fragment_mz[0]), min(precursor_mz[1], fragment_mz[1])
    diagonal = "L".join(f"{across(mz):.1f} {down(mz):.1f}" for mz in shared)
    place = f'x="{LEFT:g}" y="{TOP:g}" width="{width:g}" height="{height:.1f}"'
    parts = [
        f'<image {place} href="data:image/png;base64,{data}"/>',
        f'<path class="diagonal" d="M{diagonal}"/>',
        f'<rect class="edge" {place}/>',
    ]
    for tick in sorted({precursor_mz[0], *nice_ticks(*precursor_mz, most=4)}):
        parts += [_label("number middle", across(tick), bottom + 21, tick_text(tick))]
    for tick in nice_ticks(*fragment_mz, most=4):
        parts += [_label("number end", LEFT - 5, down(tick) + 5, tick_text(tick))]
    parts += [
        _label("axis middle", LEFT + width / 2, bottom + 40, "precursor m/z"),
        _label("axis middle", 13, TOP + height / 2, "fragment m/z", upwards=True),
    ]
    view = f"0 0 {LEFT + width + RIGHT:g} {bottom + BOTTOM:.1f}"
    opening = f'<svg class="frame spectrum" viewBox="{view}" role="img" aria-label="{escape(alt)}">'
    return Markup("".join([opening, *parts, "</svg>"]))  # noqa: S704 - numbers, base64 and an escaped text


def _label(css: str, x: float, y: float, text: str, *, upwards: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:g} {y:.1f})"' if upwards else ""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}"{turn}>{text}</text>'


def negative_png(image: np.ndarray) -> bytes:
    """A PNG of uint8 [H, W] for people: m/z rises upwards, 0 is white, darkness is the pixel's square root."""
    darkness = np.rint(255.0 * (image[::-1] / 255.0) ** GAMMA).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(255 - darkness).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
