"""A plot frame as inline SVG, for pages that must follow the reader's colour scheme.

Marks carry CSS classes instead of colours, text is the page's own, and nothing has an id, so that many frames live in one
document. Lengths are in user units; the frame is about as wide as a phone, so that its text stays readable there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 440.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 12.0, 14.0, 46.0
MARK_RADIUS = 4.0

Span = tuple[float, float]


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [tick * step for tick in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A tick's label: no trailing zeros, a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-12 else "0"


@dataclass
class Frame:
    """Axes with a plot area; drawing methods take data coordinates and append to the picture.

    `alt` is what a screen reader says instead of the picture.
    """

    x: Span
    y: Span
    x_label: str
    y_label: str
    alt: str
    x_ticks: Sequence[float] | None = None
    y_ticks: Sequence[float] | None = None
    square: bool = False
    bottom: float = BOTTOM
    width: float = WIDTH
    height: float = HEIGHT
    _parts: list[str] = field(default_factory=list)

    @property
    def area(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the plot area."""
        left, right, top, bottom = LEFT, self.width - RIGHT, TOP, self.height - self.bottom
        if self.square:
            side = min(right - left, bottom - top)
            left = left + (right - left - side) / 2
            right = left + side
        return left, top, right, bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        """User units of a data point."""
        left, top, right, bottom = self.area
        (x0, x1), (y0, y1) = self.x, self.y
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    def line(self, x: Iterable[float], y: Iterable[float], css: str, title: str = "") -> None:
        """A line through the points; those that are not finite are left out."""
        points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        if points:
            path = self._path(points)
            self._parts.append(f'<path class="line {css}" d="{path}">{_title(title)}</path>')

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """The area between two curves over the same x."""
        points = [*zip(x, low, strict=True), *zip(reversed(x), reversed(high), strict=True)]
        if points:
            self._parts.append(f'<path class="band {css}" d="{self._path(points)}Z"/>')

    def region(self, x: Span, y: Span, css: str) -> None:
        """A filled rectangle."""
        (left, bottom), (right, top) = self.at(x[0], y[0]), self.at(x[1], y[1])
        size = f'width="{_n(right - left)}" height="{_n(bottom - top)}"'
        self._parts.append(f'<rect class="{css}" x="{_n(left)}" y="{_n(top)}" {size}/>')

    def bar(self, x: float, y: Span, width: float, css: str, title: str = "") -> None:
        """An upright bar centred on `x`; `width` in data units."""
        (left, start), (right, end) = self.at(x - width / 2, y[0]), self.at(x + width / 2, y[1])
        size = f'width="{_n(right - left, 2)}" height="{_n(abs(end - start))}"'
        self._parts.append(
            f'<rect class="{css}" x="{_n(left, 2)}" y="{_n(min(start, end))}" {size}>{_title(title)}</rect>'
        )

    def mark(self, x: float, y: float, css: str, shape: str = "circle", title: str = "") -> None:
        """One mark; `shape` as in `mark_markup`."""
        across, down = self.at(x, y)
        self._parts.append(mark_markup(across, down, css, shape, title=title))

    def text(self, x: float, y: float, content: str, css: str = "", anchor: str = "middle", turn: bool = False) -> None:
        """Text at a data point; `turn` writes upwards."""
        across, down = self.at(x, y)
        self._parts.append(_text(across, down, content, css, anchor, turn))

    def note(self, across: float, down: float, content: str, css: str = "", anchor: str = "middle") -> None:
        """Text at a place in user units."""
        self._parts.append(_text(across, down, content, css, anchor, False))

    def raw(self, markup: str) -> None:
        """Markup that the caller vouches for."""
        self._parts.append(markup)

    def markup(self) -> Markup:
        """The finished picture: axes below, what was drawn above."""
        left, top, right, bottom = self.area
        parts = [f'<rect class="plot" x="{_n(left)}" y="{_n(top)}" width="{_n(right - left)}" height="{_n(bottom - top)}"/>']
        for tick in nice_ticks(*self.x) if self.x_ticks is None else self.x_ticks:
            across, _ = self.at(tick, self.y[0])
            parts.append(f'<path class="tick" d="M{_n(across)} {_n(bottom)}v4"/>')
            parts.append(_text(across, bottom + 17, tick_text(tick), "number", "middle", False))
        for tick in nice_ticks(*self.y) if self.y_ticks is None else self.y_ticks:
            _, down = self.at(self.x[0], tick)
            parts.append(f'<path class="grid" d="M{_n(left)} {_n(down)}H{_n(right)}"/>')
            parts.append(_text(left - 7, down + 4, tick_text(tick), "number", "end", False))
        parts.append(_text((left + right) / 2, self.height - 6, self.x_label, "axis", "middle", False))
        parts.append(_text(left - 38, (top + bottom) / 2, self.y_label, "axis", "middle", True))
        head = f'<svg class="frame" viewBox="0 0 {_n(self.width)} {_n(self.height)}" role="img" aria-label="{escape(self.alt)}">'
        return Markup("".join([head, *parts, *self._parts, "</svg>"]))

    def _path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{_n(across)} {_n(down)}" for across, down in (self.at(*point) for point in points))


def mark_markup(across: float, down: float, css: str, shape: str = "circle", *, title: str = "") -> str:
    """A mark in user units: ``circle``, ``square``, ``diamond`` or ``ring`` (a wider, open circle around another mark)."""
    radius = MARK_RADIUS
    tail = f">{_title(title)}</" if title else "/"
    if shape in ("circle", "ring"):
        size = radius if shape == "circle" else radius + 3
        open_tag = f'<circle class="mark {css}" cx="{_n(across)}" cy="{_n(down)}" r="{_n(size)}"'
        return open_tag + (f"{tail}circle>" if title else "/>")
    half = radius * (0.9 if shape == "square" else 1.3)
    if shape == "square":
        path = f"M{_n(across - half)} {_n(down - half)}h{_n(2 * half)}v{_n(2 * half)}h{_n(-2 * half)}Z"
    else:
        path = f"M{_n(across)} {_n(down - half)}l{_n(half)} {_n(half)}l{_n(-half)} {_n(half)}l{_n(-half)} {_n(-half)}Z"
    return f'<path class="mark {css}" d="{path}"' + (f"{tail}path>" if title else "/>")


def finite_span(values: np.ndarray, pad: float = 0.04) -> Span:
    """Lowest and highest finite value, padded by a share of their distance; (0, 1) if there is none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = (high - low) * pad or max(abs(low), 1.0) * pad
    return low - room, high + room


def _text(across: float, down: float, content: str, css: str, anchor: str, turn: bool) -> str:
    turned = f' transform="rotate(-90 {_n(across)} {_n(down)})"' if turn else ""
    place = f'x="{_n(across)}" y="{_n(down)}" text-anchor="{anchor}"'
    return f'<text class="{css}" {place}{turned}>{escape(content)}</text>'


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def _n(value: float, digits: int = 1) -> str:
    """A coordinate: a tenth of a unit is finer than any screen shows."""
    return f"{value:.{digits}f}".removesuffix("." + "0" * digits)
