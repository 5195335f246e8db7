"""From the positions of spectra to a grid of pixels: missing pixels and irregular outlines are a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2img.errors import UsageError

MAX_PIXELS = 1 << 24  # of the grid (ours): 4,096 x 4,096; the largest sections have some 4 million
MAX_SPREAD = 1_000  # grid pixels a spectrum (ours): a wrong position is far away; real regions fill a part of a slide
_SMALL = 1 << 16  # pixels below which no spread is too much


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """Where each spectrum lies: `row` and `column` int64 [n] in a grid `height` x `width`, no two at one place."""

    row: np.ndarray
    column: np.ndarray
    height: int
    width: int

    @property
    def mask(self) -> np.ndarray:
        """bool [height, width]: the pixels that have a spectrum."""
        found = np.zeros((self.height, self.width), dtype=bool)
        found[self.row, self.column] = True
        return found

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values [..., n], one a spectrum, as images [..., height, width] of their type; 0 where a pixel is missing."""
        images = np.zeros((*values.shape[:-1], self.height, self.width), dtype=values.dtype)
        images[..., self.row, self.column] = values
        return images


def grid_of(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, path: str, *, section: int | None = None
) -> tuple[np.ndarray, PixelGrid]:
    """The spectra of one section (int64 [n], ascending) and their grid: the smallest box around them.

    Raises `UsageError` for several sections where none is named, one that is not there, two spectra at one place, and a
    box that is too large to be an image.
    """
    rows = _of_section(z, path, section)
    x, y = x[rows], y[rows]
    # As Python's integers: a wrong position may be so far away that int64 overflows.
    left, top = int(x.min()), int(y.min())
    width, height = int(x.max()) - left + 1, int(y.max()) - top + 1
    n_pixels = width * height
    if n_pixels > MAX_PIXELS or n_pixels > max(_SMALL, MAX_SPREAD * len(rows)):
        far = int(rows[np.argmax(np.maximum(abs(x - np.median(x)), abs(y - np.median(y))))])
        span = f"{len(rows)} spectra span {width} x {height} pixels"
        raise UsageError(f"{path}: {span}, too many for an image; is the position of spectrum {far + 1} right?")
    place = (y - top) * width + (x - left)
    order = np.argsort(place, kind="stable")
    twice = np.flatnonzero(np.diff(place[order]) == 0)
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        where = f"x {x[first]}, y {y[first]}"
        both = f"spectra {rows[first] + 1} and {rows[second] + 1} both lie at {where}"
        raise UsageError(f"{path}: {both}; expected one spectrum a pixel")
    return rows, PixelGrid(y - top, x - left, height, width)


def _of_section(z: np.ndarray, path: str, section: int | None) -> np.ndarray:
    present = np.unique(z)
    names = ", ".join(map(str, present[:8].tolist())) + (", ..." if len(present) > 8 else "")
    if section is None and len(present) > 1:
        raise UsageError(f"{path}: {len(present)} sections (z = {names}); name one of them")
    if section is not None and section not in present:
        raise UsageError(f"{path}: no section z = {section}; the file has z = {names}")
    return np.flatnonzero(z == (present[0] if section is None else section))
