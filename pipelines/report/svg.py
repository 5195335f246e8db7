"""A plot frame as inline SVG, for a page that follows the reader's colour scheme.

Marks carry CSS classes instead of colours, text is set in the page's own font, and nothing has an id, so that many
frames live in one document. Lengths are in user units; a frame is about as wide as a phone, so that its text stays
readable there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 440.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 48.0
NAMES_BOTTOM = 112.0  # room below a plot area whose slots are named, the frame grows by the difference

#: A mark's outline and its radius (half its side, half its diagonal); a ring fits around any other mark.
SHAPES = {
    "circle": ("circle", 4.0),
    "square": ("square", 3.6),
    "diamond": ("diamond", 5.6),
    "ring": ("circle", 7.0),
    "dot": ("circle", 2.6),
    "small circle": ("circle", 2.2),
    "small square": ("square", 2.0),
}

Span = tuple[float, float]


@dataclass
class Frame:
    """Axes around a plot area. Drawing methods take data coordinates; `markup` gives the finished picture.

    `alt` is what a screen reader says in place of the picture; ticks are round numbers unless given. `x_names`,
    `y_names`: what is written at a tick in place of its number.
    """

    x: Span
    y: Span
    x_label: str
    y_label: str
    alt: str
    x_ticks: Sequence[float] | None = None
    y_ticks: Sequence[float] | None = None
    square: bool = False
    named: bool = False
    x_names: Mapping[float, str] = field(default_factory=dict)
    y_names: Mapping[float, str] = field(default_factory=dict)
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    _parts: list[str] = field(default_factory=list)

    @property
    def area(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the plot area."""
        left, right, bottom = self.left, self.width - RIGHT, self.height - BOTTOM
        if self.square:
            side = min(right - left, bottom - TOP)
            left += (right - left - side) / 2
            right = left + side
        return left, TOP, right, bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        """User units of a data point."""
        left, top, right, bottom = self.area
        (x0, x1), (y0, y1) = self.x, self.y
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    def line(self, x: Iterable[float], y: Iterable[float], css: str, title: str = "") -> None:
        """A line through the points; those that are not finite are left out."""
        points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        if points:
            self._parts.append(f'<path class="line {css}" d="{self._path(points)}">{_title(title)}</path>')

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """The area between two curves over the same x."""
        outline = [*zip(x, low, strict=True), *zip(reversed(x), reversed(high), strict=True)]
        if outline:
            self._parts.append(f'<path class="band {css}" d="{self._path(outline)}Z"/>')

    def region(self, x: Span, y: Span, css: str) -> None:
        """A filled rectangle."""
        (left, bottom), (right, top) = self.at(x[0], y[0]), self.at(x[1], y[1])
        self._parts.append(_rectangle(css, left, top, right, bottom))

    def bar(self, x: float, y: Span, width: float, css: str, title: str = "") -> None:
        """An upright bar centred on `x`, `width` in data units."""
        (left, start), (right, end) = self.at(x - width / 2, y[0]), self.at(x + width / 2, y[1])
        self._parts.append(_rectangle(css, left, min(start, end), right, max(start, end), title))

    def mark(self, x: float, y: float, css: str, shape: str = "circle", title: str = "") -> None:
        """One mark; `shape` is one of `SHAPES`."""
        self._parts.append(mark_markup(*self.at(x, y), css, shape, title))

    def slot_name(self, x: float, name: str) -> None:
        """A name below the axis, written upwards."""
        across, _ = self.at(x, self.y[0])
        self._parts.append(_text(across + 4, self.area[3] + 9, name, "slot", "end", upwards=True))

    def text(self, x: float, y: float, content: str, css: str, *, down: float = 0.0, anchor: str = "middle") -> None:
        """A text at a data point, `down` user units below it."""
        across, height = self.at(x, y)
        self._parts.append(_text(across, height + down, content, css, anchor))

    def markup(self) -> Markup:
        """The finished picture: plot area and axes, then what was drawn in the order it was drawn."""
        left, top, right, bottom = self.area
        height = self.height + (NAMES_BOTTOM - BOTTOM if self.named else 0)
        parts = [_rectangle("plot", left, top, right, bottom)]
        for tick in nice_ticks(*self.x) if self.x_ticks is None else self.x_ticks:
            across, _ = self.at(tick, self.y[0])
            parts.append(f'<path class="tick" d="M{_n(across)} {_n(bottom)}v4"/>')
            parts.append(_text(across, bottom + 18, self.x_names.get(tick, tick_text(tick)), "number"))
        for tick in nice_ticks(*self.y) if self.y_ticks is None else self.y_ticks:
            _, down = self.at(self.x[0], tick)
            parts.append(f'<path class="grid" d="M{_n(left)} {_n(down)}H{_n(right)}"/>')
            parts.append(_text(left - 7, down + 4, self.y_names.get(tick, tick_text(tick)), "number", "end"))
        if self.x_label:
            below = 22 if self.x_ticks is not None and not self.x_ticks else 40
            parts.append(_text((left + right) / 2, bottom + below, self.x_label, "axis"))
        if self.y_label:
            parts.append(_text(left - 38, (top + bottom) / 2, self.y_label, "axis", upwards=True))
        view = f"0 0 {_n(self.width)} {_n(height)}"
        opening = f'<svg class="frame" viewBox="{view}" role="img" aria-label="{escape(self.alt)}">'
        return Markup("".join([opening, *parts, *self._parts, "</svg>"]))  # noqa: S704 - every text in it is escaped

    def _path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{_n(across)} {_n(down)}" for across, down in (self.at(*point) for point in points))


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [tick * step for tick in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A tick's label: no trailing zeros, a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-12 else "0"


def finite_span(values: np.ndarray, pad: float = 0.04) -> Span:
    """Lowest and highest finite value, padded by a share of their distance; (0, 1) where there is none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = (high - low) * pad or max(abs(low), 1.0) * pad
    return low - room, high + room


def mark_markup(across: float, down: float, css: str, shape: str = "circle", title: str = "") -> str:
    """A mark in user units; `shape` is one of `SHAPES`."""
    outline, radius = SHAPES[shape]
    if outline == "circle":
        place = f'cx="{_n(across)}" cy="{_n(down)}" r="{_n(radius)}"'
        return f'<circle class="mark {css}" {place}>{_title(title)}</circle>'
    r, d = _n(radius), _n(2 * radius)
    if outline == "square":
        path = f"M{_n(across - radius)} {_n(down - radius)}h{d}v{d}h-{d}Z"
    else:
        path = f"M{_n(across)} {_n(down - radius)}l{r} {r}l-{r} {r}l-{r} -{r}Z"
    return f'<path class="mark {css}" d="{path}">{_title(title)}</path>'


def mark_swatch(css: str, shape: str = "circle") -> Markup:
    """A mark for a legend."""
    return _swatch(mark_markup(12, 8, css, shape))


def line_swatch(css: str) -> Markup:
    """A piece of line for a legend."""
    return _swatch(f'<path class="line {css}" d="M1 8H23"/>')


def bar_swatch(css: str) -> Markup:
    """A bar for a legend."""
    return _swatch(_rectangle(css, 8, 1, 16, 15))


def _swatch(content: str) -> Markup:
    opening = '<svg class="swatch" viewBox="0 0 24 16" width="24" height="16" aria-hidden="true">'
    return Markup(f"{opening}{content}</svg>")  # noqa: S704 - shapes of our own


def _rectangle(css: str, left: float, top: float, right: float, bottom: float, title: str = "") -> str:
    place = f'x="{_n(left, 2)}" y="{_n(top)}" width="{_n(right - left, 2)}" height="{_n(bottom - top)}"'
    return f'<rect class="{css}" {place}>{_title(title)}</rect>'


def _text(across: float, down: float, content: str, css: str, anchor: str = "middle", *, upwards: bool = False) -> str:
    turn = f' transform="rotate(-90 {_n(across)} {_n(down)})"' if upwards else ""
    return f'<text class="{css} {anchor}" x="{_n(across)}" y="{_n(down)}"{turn}>{escape(content)}</text>'


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def _n(value: float, digits: int = 1) -> str:
    """A coordinate; a tenth of a unit is finer than a screen shows."""
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
