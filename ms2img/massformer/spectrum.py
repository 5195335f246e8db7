"""Peak lists to binned spectra and their transform: the target of every model (MassFormer, sections 3.2 and 4.3).

A spectrum is binned with its base peak at 1, transformed (`transformed`) for the loss and the cosine similarity, and
taken back (`untransformed`) for a user. Both ends lose the scale, which carries no meaning in an identification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ms2img.learn.settings import Settings

TRANSFORMS = ("log", "sqrt", "none")
MERGES = ("max", "sum")
#: What a quotient may lack of a bin's edge (0.3 / 0.1 is less than 3 in floating point), in bins.
EDGE = 1e-9
#: A base peak of 1 counts for so much before the logarithm; released code, transform "log10over3".
LOG_SCALE = 1000.0
LOG_DIVISOR = 3.0  # likewise


@dataclass(frozen=True)
class SpectrumConfig(Settings):
    """How a peak list becomes a vector; raises `UsageError` for a value out of range."""

    bin_width: float = 1.0  # Da; released code: 1.0, high-resolution variant 0.1
    mz_max: float = 1000.0  # Da; peaks at and above it are left out; released code
    transform: str = "log"  # of intensities, before the loss and the cosine
    merge: str = "max"  # of the peaks of a bin: their "max" (released code) or "sum"

    def __post_init__(self) -> None:
        self._require_float("bin_width", low=0.0, high=math.inf, low_open=True)
        self._require_float("mz_max", low=self.bin_width, high=math.inf)
        self._require_one_of("transform", TRANSFORMS)
        self._require_one_of("merge", MERGES)

    @property
    def n_bins(self) -> int:
        """Bins up to `mz_max`; bin k holds k x bin_width <= m/z < (k + 1) x bin_width."""
        return math.ceil(self.mz_max / self.bin_width - 1e-9)  # 1000 / 0.1 is 10,000 whatever the rounding


def binned(mz: ArrayLike, intensity: ArrayLike, config: SpectrumConfig) -> NDArray[np.float32]:
    """A peak list as float32 [n_bins] with a base peak of 1; zeros when no peak lies below `mz_max`.

    mz: Da [p], in any order. intensity: [p], >= 0, in any unit.
    """
    mz = np.asarray(mz, dtype=np.float64)
    intensity = np.asarray(intensity, dtype=np.float64)
    if mz.shape != intensity.shape or mz.ndim != 1:
        raise ValueError(
            f"m/z of shape {mz.shape} and intensities of shape {intensity.shape}: expected one each a peak"
        )
    spectrum = np.zeros(config.n_bins)
    place = bin_of(mz, config)
    inside = (mz >= 0) & (mz < config.mz_max)
    merge = np.maximum if config.merge == "max" else np.add
    merge.at(spectrum, place[inside], intensity[inside])
    return _scaled(spectrum, spectrum.max()).astype(np.float32)


def bin_of(mz: ArrayLike, config: SpectrumConfig) -> NDArray[np.int64]:
    """Bin numbers of m/z values; beyond `mz_max` they are `n_bins` and more."""
    return np.floor(np.asarray(mz, dtype=np.float64) / config.bin_width + EDGE).astype(np.int64)


def transformed(spectra: ArrayLike, config: SpectrumConfig) -> NDArray[np.float32]:
    """[..., n_bins] with a base peak of 1 -> the transform, each spectrum summing to 1 (zeros stay zeros).

    "log" is log10(1000 x + 1) / 3 (released code), "sqrt" the square root.
    """
    values = np.asarray(spectra, dtype=np.float64)
    if config.transform == "log":
        values = np.log10(LOG_SCALE * values + 1) / LOG_DIVISOR
    elif config.transform == "sqrt":
        values = np.sqrt(values)
    return _scaled(values, values.sum(axis=-1, keepdims=True)).astype(np.float32)


def untransformed(spectra: ArrayLike, config: SpectrumConfig) -> NDArray[np.float32]:
    """The inverse of `transformed` up to the scale, which is set so that the base peak is 1; [..., n_bins], >= 0."""
    values = np.asarray(spectra, dtype=np.float64)
    values = _scaled(values, values.max(axis=-1, keepdims=True))
    if config.transform == "log":  # a base peak of 1 stood at log10(1001) / 3, whatever the divisor and the sum
        values = np.expm1(values * np.log1p(LOG_SCALE)) / LOG_SCALE
    elif config.transform == "sqrt":
        values = values**2
    return values.astype(np.float32)


def _scaled(values: NDArray[np.float64], by: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """`values` over `by`; zero where `by` is."""
    return np.divide(values, by, out=np.zeros_like(values), where=by > 0)
