"""Smooth shapes on a frame: fields that are positive inside, and their soft membership."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]  # [H, W]

_SOFTNESS = 0.008  # share of the frame over which a border fades: 0.4 mm of a section of 20 mm either way


class Frame:
    """Coordinates of pixel centres as shares of the frame, x to the right and y down, bent by a smooth random warp."""

    def __init__(self, height: int, width: int, random: np.random.Generator, warp: float) -> None:
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        self.x = x + warp * waves(x, y, random)
        self.y = y + warp * waves(x, y, random)

    def ellipse(self, x: float, y: float, across: float, down: float, turn: float = 0.0) -> Field:
        """About the distance inside an ellipse with half-axes `across` and `down`, turned by `turn` degrees."""
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        along = ((self.x - x) * cosine + (self.y - y) * sine) / across
        beside = ((self.y - y) * cosine - (self.x - x) * sine) / down
        return (1.0 - np.hypot(along, beside)) * min(across, down)

    def lobed(self, x: float, y: float, across: float, down: float, lobes: int, depth: float) -> Field:
        """An ellipse whose rim goes in and out by `depth` of its radius, `lobes` times."""
        along, beside = (self.x - x) / across, (self.y - y) / down
        rim = 1.0 + depth * np.cos(lobes * np.arctan2(beside, along))
        return (rim - np.hypot(along, beside)) * min(across, down)

    def above(self, y: float, slope: float = 0.0) -> Field:
        """The part of the frame above a line through (0.5, y)."""
        return (y + slope * (self.x - 0.5)) - self.y


def union(*fields: Field) -> Field:
    """Inside any of them."""
    return np.maximum.reduce(fields)


def overlap(*fields: Field) -> Field:
    """Inside all of them."""
    return np.minimum.reduce(fields)


def band(field: Field, outer: float, inner: float) -> Field:
    """Between `outer` and `inner` distance from the border of `field`."""
    return np.minimum(field - outer, inner - field)


def soft(field: Field) -> Field:
    """Membership 0-1: 0.5 on the border."""
    return 0.5 * (1.0 + np.tanh(field / (2 * _SOFTNESS)))


def waves(x: Field, y: Field, random: np.random.Generator, terms: int = 6) -> Field:
    """A smooth random field of mean about 0 and variance about 1: plane waves of one to three periods."""
    total = np.zeros_like(x)
    for kx, ky, phase in zip(*random.uniform(-3, 3, (2, terms)), random.uniform(0, 2 * np.pi, terms), strict=True):
        total += np.cos(2 * np.pi * (kx * x + ky * y) + phase)
    return total * np.sqrt(2 / terms)
