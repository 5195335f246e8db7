"""Figure 1: example images with their axes, as pictures that a browser and a printer draw crisply."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from pipelines.report.svg import Span, nice_ticks, tick_text

GAMMA = 0.5  # drawn darkness = (pixel / 255) ** GAMMA (ours): faint fragments are seen on paper


@dataclass(frozen=True)
class Example:
    """One sample's picture and what is said below it."""

    name: str
    caption: str
    svg: Markup


def negative_png(image: np.ndarray) -> bytes:
    """A PNG of uint8 [H, W] for people: m/z rises upwards, 0 is white, darkness is the pixel's square root."""
    darkness = np.rint(255.0 * (image[::-1] / 255.0) ** GAMMA).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(255 - darkness).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


PLOT_WIDTH = 200.0  # user units of an image's width: two pictures side by side on a phone keep readable ticks
LEFT, RIGHT, TOP, BOTTOM = 40.0, 14.0, 8.0, 34.0


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
    diagonal = " ".join(f"{across(mz):.1f} {down(mz):.1f}" for mz in shared)
    parts = [
        f'<image x="{LEFT}" y="{TOP}" width="{width}" height="{height:.1f}" href="data:image/png;base64,{data}"/>',
        f'<path class="diagonal" d="M{diagonal}"/>',
        f'<rect class="edge" x="{LEFT}" y="{TOP}" width="{width}" height="{height:.1f}"/>',
    ]
    for tick in (precursor_mz[0], *nice_ticks(*precursor_mz, most=4)):
        parts.append(
            f'<text class="number middle" x="{across(tick):.1f}" y="{bottom + 13:.1f}">{tick_text(tick)}</text>'
        )
    for tick in nice_ticks(*fragment_mz, most=4):
        parts.append(f'<text class="number end" x="{LEFT - 5}" y="{down(tick) + 4:.1f}">{tick_text(tick)}</text>')
    middle = TOP + height / 2
    parts += [
        f'<text class="axis middle" x="{LEFT + width / 2}" y="{bottom + 28:.1f}">precursor m/z</text>',
        f'<text class="axis middle" x="10" y="{middle:.1f}" transform="rotate(-90 10 {middle:.1f})">fragment m/z</text>',
    ]
    view = f"0 0 {LEFT + width + RIGHT:g} {bottom + BOTTOM:.1f}"
    opening = f'<svg class="frame spectrum" viewBox="{view}" role="img" aria-label="{escape(alt)}">'
    return Markup("".join([opening, *parts, "</svg>"]))  # noqa: S704: numbers, base64 and an escaped text
