"""Views for natural images, as SimSiam makes them: what DeepION's Table 1 calls SimSiam differs from it in this alone.

The values are those of SimSiam's published training (Chen and He, CVPR 2021, appendix A, after MoCo v2). Its changes of
hue, saturation and to grey do nothing to an image of one channel, and are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ms2img.deepion.augment import colour_jitter
from ms2img.deepion.draws import Draws
from ms2img.errors import UsageError
from ms2img.learn.settings import Settings

_REACH = 3  # standard deviations of a Gaussian to either side that are counted: .997 of it


@dataclass(frozen=True)
class NaturalViews(Settings):
    """Resized crops, mirror images, colour jitter and Gaussian smoothing; `UsageError` for a value out of range."""

    smallest_crop: float = 0.2  # share of the image's area, drawn from this to 1
    widest_crop: float = 4 / 3  # width over height of a crop against the image's, log-uniform from 1 / this to this
    flip_chance: float = 0.5
    jitter_chance: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    blur_chance: float = 0.5
    blur_low: float = 0.1  # pixels: standard deviation of the Gaussian, drawn from here ...
    blur_high: float = 2.0  # ... to here

    def __post_init__(self) -> None:
        for share in ("flip_chance", "jitter_chance", "brightness", "contrast", "blur_chance"):
            self._require_float(share, low=0.0, high=math.nextafter(1.0, 2.0))
        self._require_float("smallest_crop", low=0.0, high=math.nextafter(1.0, 2.0), low_open=True)
        self._require_float("widest_crop", low=1.0, high=math.inf)
        for width in ("blur_low", "blur_high"):
            self._require_float(width, low=0.0, high=math.inf, low_open=True)
        if self.blur_low > self.blur_high:
            raise UsageError(f"blur_low: {self.blur_low}; expected up to blur_high {self.blur_high:g}")

    def view(self, images: Tensor, draws: Draws) -> Tensor:
        """See `ms2img.deepion.augment.Views.view`."""
        images = self._cropped(images, draws)
        jittered = colour_jitter(images, draws, brightness=self.brightness, contrast=self.contrast)
        images = torch.where(draws.happens(self.jitter_chance), jittered, images)
        blurred = gaussian_filter(images, draws.uniform(self.blur_low, self.blur_high).flatten())
        return torch.where(draws.happens(self.blur_chance), blurred, images)

    def _cropped(self, images: Tensor, draws: Draws) -> Tensor:
        """A crop of each image, resized to the whole (bilinear), mirrored left to right or not."""
        area = draws.uniform(self.smallest_crop, 1.0)
        shape = draws.uniform(-math.log(self.widest_crop), math.log(self.widest_crop)).exp()
        width, height = (area * shape).sqrt().clamp(max=1.0), (area / shape).sqrt().clamp(max=1.0)
        left, top = draws.uniform(-1, 1) * (1 - width), draws.uniform(-1, 1) * (1 - height)
        mirror = torch.where(draws.happens(self.flip_chance), -1.0, 1.0)
        return crop(images, centre=(left, top), size=(width * mirror, height))


def crop(images: Tensor, *, centre: tuple[Tensor, Tensor], size: tuple[Tensor, Tensor]) -> Tensor:
    """Parts of images [b, 1, H, W], each resized to H x W (bilinear).

    centre: x and y, each [b, 1, 1, 1], from -1 to 1 over the image. size: width and height as shares of the image's,
    each [b, 1, 1, 1]; a negative width mirrors.
    """
    (x, y), (width, height) = centre, size
    nothing = torch.zeros_like(x)
    affine = torch.cat([torch.cat([width, nothing, x], dim=3), torch.cat([nothing, height, y], dim=3)], dim=2)
    grid = functional.affine_grid(affine[:, 0], list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def gaussian_filter(images: Tensor, sigma: Tensor) -> Tensor:
    """Images [b, 1, H, W], each smoothed by a Gaussian of its own `sigma` [b], in pixels; edges repeat outwards."""
    reach = max(1, math.ceil(_REACH * float(sigma.max())))
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    n = len(images)
    rows = functional.pad(images.transpose(0, 1), (reach, reach, reach, reach), mode="replicate")  # a channel an image
    across = functional.conv2d(rows, weights[:, None, None, :], groups=n)
    return functional.conv2d(across, weights[:, None, :, None], groups=n).transpose(0, 1)
