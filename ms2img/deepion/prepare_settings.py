"""What the way from spectra to ion images leaves open; presets `paper` and `released`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ms2img.deepion.peaks import DEFAULT_SNR
from ms2img.learn.settings import Settings

SPECTRA = ("auto", "profile", "centroid")
PIXEL_NORMS = ("tic", "none")
HOTSPOTS = ("quantile", "max-fraction", "none")


@dataclass(frozen=True)
class PrepareSettings(Settings):
    """From spectra to ion images.

    spectra: whether peaks are to be picked; "auto" is what the file says of itself.
    min_snr: a picked peak is above so many times the spectrum's noise.
    ppm: a peak belongs to a bin whose centre is at most so far away, m/z 1e-6 (ours: what the isotope rules allow).
    min_presence: an ion has signal in at least this share of the measured pixels (ours).
    pixel_norm: "tic" divides a pixel by its total ion count, before hot spots are capped (ours).
    hotspots: how an ion is capped: "quantile" of its pixels with signal | "max-fraction" of its maximum | "none".
    hotspot_level: that quantile or fraction (DeepION, section 2.2: 99 %).
    """

    spectra: str = "auto"
    min_snr: float = DEFAULT_SNR
    ppm: float = 10.0
    min_presence: float = 0.01
    pixel_norm: str = "tic"
    hotspots: str = "quantile"
    hotspot_level: float = 0.99

    def __post_init__(self) -> None:
        self._require_one_of("spectra", SPECTRA)
        self._require_one_of("pixel_norm", PIXEL_NORMS)
        self._require_one_of("hotspots", HOTSPOTS)
        self._require_float("min_snr", low=0.0, high=math.inf)
        self._require_float("ppm", low=0.0, high=10_000.0, low_open=True)
        self._require_float("min_presence", low=0.0, high=1.0)
        self._require_float("hotspot_level", low=0.0, high=1.0, low_open=True)


#: "paper": section 2.2 ("hotspot removal, and normalization"). "released": ``DeepION.py`` divides an ion by its sum
#: over all pixels, which equation 1 undoes, then takes equation 1; hot spots and total ion counts stay as they are.
PRESETS = {
    "paper": PrepareSettings(),
    "released": PrepareSettings(pixel_norm="none", hotspots="none"),
}
