"""Views of an ion image as a second measurement might have given it (DeepION, section 3.1 and Figure 2).

COL views: colour jitter, filtering, Poisson noise, random missing values. ISO views add missing values that depend on
the intensity, so that only images whose intensities agree as well stay close. The paper's main text prints no numbers;
what they are, and where each comes from, stands in `ms2img.deepion.presets`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ms2img.deepion.draws import Draws
from ms2img.errors import UsageError
from ms2img.learn.settings import Settings

#: How a missing value depends on the pixel's intensity; see `missing_by_intensity` and `below_quantile`.
INTENSITY_LAWS = ("none", "falling", "rising", "quantile")


class Views(Protocol):
    """What makes a view of an image."""

    def view(self, images: Tensor, draws: Draws) -> Tensor:
        """New images of the same shape: float32 [b, 1, H, W], from images in 0-1 that are left as they are."""


@dataclass(frozen=True)
class MsiViews(Settings):
    """DeepION's views; every image draws its own strengths. `UsageError` for a value out of range."""

    brightness: float = 0.8  # factor from 1 - this to 1 + this
    contrast: float = 0.8  # likewise, about the image's mean
    filter_chance: float = 0.5  # that an image is smoothed
    filter_size: int = 5  # pixels a side of the box, odd
    counts_low: float = 0.0  # ions counted at intensity 1, drawn log-uniformly from here ...
    counts_high: float = 0.0  # ... to here; 0: no Poisson noise
    missing_draws: float = 0.8  # at most so many pixels are drawn, with repeats, as a share of all, and set to 0
    intensity_law: str = "none"  # what the chance of a further missing value does as intensity rises
    intensity_missing: float = 0.8  # "falling", "rising": the chance at its highest, drawn from 0 to this
    quantile_low: float = 0.10  # "quantile": what lies below a quantile from here ...
    quantile_high: float = 0.89  # ... to here is missing

    def __post_init__(self) -> None:
        for share in ("brightness", "contrast", "filter_chance", "intensity_missing", "quantile_low", "quantile_high"):
            self._require_float(share, low=0.0, high=math.nextafter(1.0, 2.0))
        for number in ("counts_low", "counts_high", "missing_draws"):
            self._require_float(number, low=0.0, high=math.inf)
        self._require_int("filter_size", low=1)
        self._require_one_of("intensity_law", INTENSITY_LAWS)
        if self.filter_size % 2 == 0:
            raise UsageError(f"filter_size: {self.filter_size}; expected an odd number, which has a middle")
        if self.counts_high and not 0 < self.counts_low <= self.counts_high:
            raise UsageError(f"counts_low: {self.counts_low}; expected above 0, up to counts_high {self.counts_high:g}")
        if self.quantile_low > self.quantile_high:
            raise UsageError(f"quantile_low: {self.quantile_low}; expected up to quantile_high {self.quantile_high:g}")

    def view(self, images: Tensor, draws: Draws) -> Tensor:
        """See `Views.view`; Poisson counts may carry a pixel above 1."""
        images = colour_jitter(images, draws, brightness=self.brightness, contrast=self.contrast)
        if self.filter_chance:
            images = torch.where(draws.happens(self.filter_chance), box_filter(images, self.filter_size), images)
        if self.counts_high:
            low, high = math.log(self.counts_low), math.log(self.counts_high)
            images = poisson_noise(images, draws.uniform(low, high).exp(), draws)
        if self.missing_draws:
            share = missing_share(draws.uniform(0.0, self.missing_draws))
            images = images * (draws.field(*images.shape[-2:]) >= share)
        return self._less_by_intensity(images, draws)

    def _less_by_intensity(self, images: Tensor, draws: Draws) -> Tensor:
        """The step that ISO views add."""
        if self.intensity_law == "none":
            return images
        if self.intensity_law == "quantile":
            return below_quantile(images, draws.uniform(self.quantile_low, self.quantile_high))
        highest = draws.uniform(0.0, self.intensity_missing)
        return missing_by_intensity(images, highest, draws, rising=self.intensity_law == "rising")


def colour_jitter(images: Tensor, draws: Draws, *, brightness: float, contrast: float) -> Tensor:
    """Brightness and contrast of [b, 1, H, W] in 0-1 changed, in either order, as torchvision's ``ColorJitter`` does.

    Each factor is drawn from 1 - strength to 1 + strength; contrast is about the image's mean; each step ends in 0-1.
    """
    brighter = draws.uniform(1 - brightness, 1 + brightness)
    sharper = draws.uniform(1 - contrast, 1 + contrast)
    brightness_first = draws.happens(0.5)
    images = torch.where(brightness_first, (images * brighter).clamp(0, 1), images)
    mean = images.mean(dim=(-2, -1), keepdim=True)
    images = torch.lerp(mean, images, sharper).clamp(0, 1)
    return torch.where(brightness_first, images, (images * brighter).clamp(0, 1))


def box_filter(images: Tensor, size: int) -> Tensor:
    """The mean of the `size` x `size` pixels (odd) about each pixel of [b, 1, H, W]; edge pixels repeat outwards."""
    margin = size // 2
    padded = functional.pad(images, (margin, margin, margin, margin), mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (size, 1), stride=1), (1, size), stride=1)


def poisson_noise(images: Tensor, ions: Tensor, draws: Draws) -> Tensor:
    """Images [b, 1, H, W] as counts give them, `ions` [b, 1, 1, 1] being expected at intensity 1.

    In units of ions the mean of a pixel is also its variance.
    """
    return draws.counts(images * ions) / ions


def missing_share(drawn: Tensor) -> Tensor:
    """The share of pixels hit at least once when `drawn` times as many as there are pixels are drawn with repeats."""
    return -torch.expm1(-drawn)


def missing_by_intensity(images: Tensor, highest: Tensor, draws: Draws, *, rising: bool) -> Tensor:
    """Pixels of [b, 1, H, W] set to 0 with a chance linear in their intensity, `highest` [b, 1, 1, 1] at one end.

    The paper's "missing ratio of ions proportional to their intensities" is, to the letter, `rising`: none at intensity
    0, `highest` at 1. What instruments do, and the released code with its quantile, is the reverse: faint signals are
    missed. So that is what the presets take, and the letter is an option.
    """
    intensity = images.clamp(0, 1)
    chance = highest * (intensity if rising else 1 - intensity)
    return images * (draws.field(*images.shape[-2:]) >= chance)


def below_quantile(images: Tensor, quantile: Tensor) -> Tensor:
    """Pixels of [b, 1, H, W] below the image's `quantile` [b, 1, 1, 1] (0-1, over all its pixels) set to 0."""
    ranked = images.flatten(1).sort(dim=1).values  # torch.quantile takes one quantile for all, and 16 M numbers at most
    place = (quantile.flatten() * (ranked.shape[1] - 1)).unsqueeze(1)
    lower = ranked.gather(1, place.floor().long())
    upper = ranked.gather(1, place.ceil().long())
    limit = torch.lerp(lower, upper, place.frac())
    return torch.where(images < limit[:, :, None, None], 0.0, images)
