"""Convolutions over the tiles of an image that hold a signal: what is empty everywhere is computed once.

No fragment is heavier than its precursor, so half of every image is empty by construction, and of real ones more
(nine pixels in ten of the qemistree images). Convolutions and pools only look a few pixels around, so every tile whose
surroundings are empty gives the same values: those of one empty tile. The sums are those of the whole image, none left
out: equal to it up to the order of rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TILE = 12  # pixels of the input a tile stands for, about: of 8 to 24 the fastest on a CPU (bench/train_step.py)
ROUND = 32  # tiles are computed in multiples of so many: few distinct shapes, for each of which oneDNN compiles kernels
WORTHWHILE = 0.75  # of the whole image's multiplications: above it, what tiles save is lost on cutting and joining


@dataclass(frozen=True)
class Layer:
    """A valid convolution of `kernel` x `kernel`, from `channels_in` to `channels_out`, then a max-pool by `pool`."""

    kernel: int
    channels_in: int
    channels_out: int
    pool: int  # 1: none

    def output(self, size: int) -> int:
        """Pixels of the output along an axis of `size`."""
        return (size - self.kernel + 1) // self.pool

    def needed(self, size: int) -> int:
        """Pixels of the input that `size` pixels of the output look at."""
        return size * self.pool + self.kernel - 1

    def multiplications(self, rows: int, columns: int) -> int:
        """Of one image of `rows` x `columns`."""
        return (
            (rows - self.kernel + 1)
            * (columns - self.kernel + 1)
            * self.kernel**2
            * (self.channels_in * self.channels_out)
        )


def convolve_tiles(x: Tensor, layers: Sequence[Layer], convolve: Callable[[Tensor], Tensor]) -> Tensor | None:
    """`convolve` of images [n, 1, H, W] -> [n, h, w, channels], computed where there is something to see.

    None where that would save too little, or would be wrong: the gradient of an empty pixel is not that of its tile's
    stand-in. On a GPU, where counting the tiles would hold up every step, always None.

    Parameters
    ----------
    layers: what `convolve` does to any images [m, 1, a, b] -> [m, channels, a', b'].
    """
    if x.device.type != "cpu" or x.requires_grad:
        return None
    grid = _Grid.of(layers, *x.shape[-2:])
    tiles = grid.cut(x)
    occupied = tiles.flatten(1).any(1).nonzero().squeeze(1)
    m = (len(occupied) // ROUND + 1) * ROUND  # at least one empty tile
    if m * _work(layers, grid.tile, grid.tile) > WORTHWHILE * len(x) * _work(layers, *x.shape[-2:]):
        return None
    taken = tiles.new_zeros(m, 1, grid.tile, grid.tile)
    torch.index_select(tiles, 0, occupied, out=taken[: len(occupied), 0])
    found = convolve(taken).permute(0, 2, 3, 1)
    return grid.join(_Spread.apply(found, occupied, len(tiles)))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Grid:
    """Tiles of `tile` pixels at every `step`, of which `down` x `right` give the output of `rows` x `columns`."""

    tile: int
    step: int
    rows: int
    columns: int
    size: int  # of a tile of the output

    @classmethod
    def of(cls, layers: Sequence[Layer], height: int, width: int) -> _Grid:
        stride = math.prod(layer.pool for layer in layers)
        size = max(1, TILE // stride)
        tile, rows, columns = size, height, width
        for layer in reversed(layers):
            tile = layer.needed(tile)
        for layer in layers:
            rows, columns = layer.output(rows), layer.output(columns)
        return cls(tile, size * stride, rows, columns, size)

    @property
    def down(self) -> int:
        return -(-self.rows // self.size)

    @property
    def right(self) -> int:
        return -(-self.columns // self.size)

    def cut(self, x: Tensor) -> Tensor:
        """[n, 1, H, W] -> [n * down * right, tile, tile]; past the edge is empty, as in tiles of nothing."""
        below = (self.down - 1) * self.step + self.tile - x.shape[2]
        beside = (self.right - 1) * self.step + self.tile - x.shape[3]
        padded = functional.pad(x[:, 0], (0, beside, 0, below))  # less than 0: the pools leave pixels over
        return padded.unfold(1, self.tile, self.step).unfold(2, self.tile, self.step).reshape(-1, self.tile, self.tile)

    def join(self, tiles: Tensor) -> Tensor:
        """[n * down * right, size, size, channels] -> [n, rows, columns, channels]."""
        x = tiles.view(-1, self.down, self.right, self.size, self.size, tiles.shape[-1]).transpose(2, 3)
        x = x.reshape(-1, self.down * self.size, self.right * self.size, tiles.shape[-1])
        return x[:, : self.rows, : self.columns]


def _work(layers: Sequence[Layer], rows: int, columns: int) -> int:
    """Multiplications for one image."""
    total = 0
    for layer in layers:
        total += layer.multiplications(rows, columns)
        rows, columns = layer.output(rows), layer.output(columns)
    return total


class _Spread(torch.autograd.Function):
    """Rows [m, ...] -> [n, ...]: row i to place ``places[i]``, the row after these to every other place.

    As `index_select`, but its gradient is summed in float32 or better and in a fixed order on every device.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, n: int) -> Tensor:
        source = torch.full((n,), len(places), device=rows.device)
        source[places] = torch.arange(len(places), device=rows.device)
        ctx.save_for_backward(places, source)
        ctx.shape = rows.shape
        return rows.index_select(0, source)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        places, source = ctx.saved_tensors
        rows = gradient.new_zeros(ctx.shape)
        rows[: len(places)] = gradient.index_select(0, places)
        others = (source == len(places)).nonzero().squeeze(1)
        precise = torch.promote_types(gradient.dtype, torch.float32)
        rows[len(places)] = gradient.index_select(0, others).sum(0, dtype=precise)
        return rows, None, None
