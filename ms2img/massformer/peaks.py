"""A predicted spectrum as a peak list: the bins above a cut, each at one m/z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.learn.settings import Settings
from ms2img.massformer.spectrum import SpectrumConfig

BASE_PEAK = 1000.0  # intensity of the highest peak, as libraries have it
#: m/z of a fragment over its nominal mass: the mass defect of the average peptide residue (averagine, C4.94 H7.76 N1.36
#: O1.48 S0.04: 111.0543 at nominal 111), near that of most organic ions.
MASS_DEFECT = 1.00049
MASSES = ("centre", "defect")


@dataclass(frozen=True)
class PeakRule(Settings):
    """Which bins become peaks, and where. A model knows no mass within a bin.

    cut: least height over that of the base peak; a model's output is rarely exactly 0.
    mass: "centre", the middle of the bin; or "defect", the nominal mass times `MASS_DEFECT` where that lies in the bin
        (else its centre): nearer to real fragments where a library is searched at a tolerance below a bin.
    """

    cut: float = 0.01
    mass: str = "defect"

    def __post_init__(self) -> None:
        self._require_float("cut", low=0.0, high=1.0)
        self._require_one_of("mass", MASSES)


def peaks_of(spectrum: NDArray[np.float32], config: SpectrumConfig, rule: PeakRule) -> list[tuple[float, float]]:
    """(m/z in Da, intensity up to `BASE_PEAK`) of an untransformed spectrum [bins], by rising m/z."""
    top = float(spectrum.max(initial=0.0))
    if top <= 0:
        return []
    places = np.flatnonzero((spectrum >= rule.cut * top) & (spectrum > 0))
    heights = BASE_PEAK / top * spectrum[places].astype(np.float64)
    return list(zip(_masses(places, config, rule).round(4).tolist(), heights.round(2).tolist(), strict=True))


def _masses(places: NDArray[np.int64], config: SpectrumConfig, rule: PeakRule) -> NDArray[np.float64]:
    low, high = places * config.bin_width, (places + 1) * config.bin_width
    centre = (low + high) / 2
    if rule.mass == "centre":
        return centre
    typical = np.ceil(low - 1e-9) * MASS_DEFECT
    return np.where((low <= typical) & (typical < high), typical, centre)
