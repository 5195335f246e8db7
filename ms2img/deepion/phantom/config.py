"""What may be chosen about a phantom, the one knob of its difficulty, and the random streams of its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ms2img.errors import UsageError
from ms2img.learn.settings import Settings

POLARITIES = ("positive", "negative")
MODES = ("processed", "continuous")


@dataclass(frozen=True)
class PhantomConfig(Settings):
    """Size, polarity, difficulty and seed of a SIMULATED section; equal configs give equal pixels and equal files."""

    height: int = 64  # pixels
    width: int = 64  # pixels; another shape stretches the section
    ions: int = 600  # m/z values in all: isotopes and decoys too
    polarity: str = "positive"
    mz_low: float = 100.0  # Da/charge; the range of the paper's section 2.1
    mz_high: float = 2000.0
    difficulty: float = 0.5  # 0: bright and clean, 1: mostly missing
    #: Unrelated ions at an isotope's distance, a molecule. By mass alone the rules find 1,061 pairs in the authors'
    #: positive m/z, of which the images support 619: one decoy a molecule makes the phantom about as crowded.
    decoys: float = 1.0
    pixel_um: float = 50.0  # the paper's section 2.1
    mode: str = "processed"  # of the imzML
    mz_error_ppm: float = 2.0  # standard deviation of a peak's m/z in one spectrum; mode processed
    noise_peaks: int = 0  # peaks of chance in each spectrum; mode processed
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            self._require_int(name, low=8, high=10_000)
        self._require_int("ions", low=17, high=5_000)
        self._require_int("noise_peaks", low=0, high=10_000_000)
        self._require_int("seed", low=0)
        self._require_one_of("polarity", POLARITIES)
        self._require_one_of("mode", MODES)
        if not isinstance(self.difficulty, int | float) or not 0 <= self.difficulty <= 1:
            raise UsageError(f"difficulty: {self.difficulty!r}; expected a number from 0 to 1")
        self._require_float("decoys", low=0.0, high=10.0)
        self._require_float("mz_low", low=1.0, high=math.inf)
        self._require_float("mz_high", low=self.mz_low, high=math.inf, low_open=True)
        self._require_float("pixel_um", low=0.0, high=math.inf, low_open=True)
        self._require_float("mz_error_ppm", low=0.0, high=50.0)


@dataclass(frozen=True)
class Nuisance:
    """What stands between a pattern and its image, as numbers; `at` turns the knob."""

    counts: float  # ions counted where a monoisotopic ion of median brightness is most abundant, mean
    background: float  # counts of chemical noise in every pixel, mean
    variation: float  # ln, how far ions of one class differ: per region, and smoothly over the section
    dropout: float  # probability that a faint signal goes missing
    hot_pixels: float  # share of pixels
    stripes: float  # ln, between the batches of lines
    edge: float  # excess of signal at the tissue's rim

    @classmethod
    def at(cls, difficulty: float) -> Nuisance:
        """The numbers at `difficulty`, 0-1: a straight line from easy to hard, for `counts` on a log scale."""
        mixed = {
            name: (1 - difficulty) * getattr(_EASY, name) + difficulty * getattr(_HARD, name)
            for name in _EASY.__dataclass_fields__
        }
        mixed["counts"] = float(_EASY.counts * (_HARD.counts / _EASY.counts) ** difficulty)
        return cls(**mixed)


# Ours. The paper's faint pair of isotopes (section 4.2) misses 71 % and 89 % of its values: so do, on average, the
# phantom's isotopes at a difficulty of 0.5 and of 1.
_EASY = Nuisance(
    counts=400.0, background=0.02, variation=0.1, dropout=0.0, hot_pixels=0.0, stripes=0.0, edge=0.0
)  # fmt: skip
_HARD = Nuisance(
    counts=1.5, background=0.15, variation=0.6, dropout=0.8, hot_pixels=0.02, stripes=0.5, edge=1.0
)  # fmt: skip


class Stage(IntEnum):
    """Names the random streams; the numbers are part of every seed, so they never change."""

    ANATOMY = 1
    IONS = 2
    SECTION = 3
    PATTERN = 4
    COUNTS = 5
    SPECTRA = 6
    DECOYS = 7


def stream(seed: int, stage: Stage, *key: int) -> np.random.Generator:
    """An independent random stream for one thing, so that one ion more leaves the earlier ones as they were."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(int(stage), *key))))
