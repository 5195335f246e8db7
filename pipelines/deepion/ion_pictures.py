"""Ion images as pictures of a page: small PNGs in a colour map for every eye, and the bar that says how far is far.

viridis is perceptually uniform: equal steps of intensity look equal, its lightness rises all the way, and it does so
for readers who do not tell red from green. What was not measured is transparent, so that it is not taken for no signal.
"""

from __future__ import annotations

import base64
import io
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVELS = 64  # colours a picture (ours): steps that an eye does not see, and half the bytes of 256
_BAR = 0.3  # of a picture's width at most: its scale bar (ours)


@cache
def colours() -> NDArray[np.uint8]:
    """viridis from no signal to the most, uint8 [LEVELS, 3]."""
    from matplotlib import colormaps

    made: NDArray[np.uint8] = np.rint(255 * colormaps["viridis"](np.linspace(0, 1, LEVELS))[:, :3]).astype(np.uint8)
    return made


def ramp() -> str:
    """The colours from left to right, as a CSS background."""
    stops = ", ".join(f"#{bytes(each).hex()}" for each in colours()[:: LEVELS // 9])
    return f"linear-gradient(90deg, {stops})"


def factor_for(shape: tuple[int, int], count: int, *, pixels: int, side: int) -> int:
    """By how much the sides of `count` images of a shape are divided to be `pixels` in all at most, none above `side`.

    A picture's side is never below eight pixels for that.
    """
    factor = max(1, -(-max(shape) // side))
    while min(shape) // (factor + 1) >= 8 and count * math.prod(-(-each // factor) for each in shape) > pixels:
        factor += 1
    return factor


def smaller(images: np.ndarray, mask: np.ndarray, factor: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Images [n, H, W] by blocks of factor x factor pixels: the mean of those measured; without one, it is missing."""
    if factor == 1:
        return np.asarray(images, np.float32), mask
    height, width = mask.shape
    room = ((0, -height % factor), (0, -width % factor))
    blocks = tuple(-(-each // factor) for each in mask.shape)

    def summed(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, blocks[0], factor, blocks[1], factor).sum(axis=(2, 4))

    measured = summed(np.pad(mask, room)[None])
    total = summed(np.pad(np.where(mask, images, 0), ((0, 0), *room)))
    return (total / np.maximum(measured, 1)).astype(np.float32), measured[0] > 0


def data_uri(image: np.ndarray, mask: np.ndarray) -> str:
    """An image [h, w] in 0-1 as a PNG for a page."""
    level = 1 + np.rint(np.clip(image, 0, 1) * (LEVELS - 1)).astype(np.uint8)
    picture = Image.fromarray(np.where(mask, level, 0).astype(np.uint8)).convert("L")
    picture.putpalette([0, 0, 0, *colours().ravel().tolist()])
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True, transparency=0)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def scale_bar(width: int, pixel_um: float | None) -> tuple[float, str]:
    """A bar for an image of `width` pixels: its share of the width, and its length in words; pixels where no size is
    known."""
    whole = width * (pixel_um or 1.0)
    power = 10.0 ** math.floor(math.log10(whole * _BAR))
    length = next(power * step for step in (5, 2, 1) if power * step <= whole * _BAR * (1 + 1e-9))
    if pixel_um is None:
        length = max(1.0, length)
        return length / whole, f"{length:g} pixel{'s' if length > 1 else ''}"
    return length / whole, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
