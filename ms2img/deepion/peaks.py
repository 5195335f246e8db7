"""Spectra to peaks: picked from profiles, taken as they are from centroids; a share of the spectra at a time.

DeepION, section 2.2, leaves picking and alignment to SCiLS Lab, whose rules are not published. Here: local maxima above
the noise, as MALDIquant has it (Gibb and Strimmer, Bioinformatics 2012), and alignment by `ms2img.deepion.pooling`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2img.deepion.imzml import Imzml, spectra
from ms2img.errors import UsageError
from ms2img.io.formats.centroid import centroid

MAD_TO_SIGMA = 1.4826  # of a normal distribution; R's `mad`, which MALDIquant's `estimateNoise` is
DEFAULT_SNR = 2.0  # MALDIquant's `detectPeaks`


@dataclass(frozen=True, eq=False)
class Peaks:
    """The peaks of some spectra, by ascending m/z, those of one m/z in the order of the spectra.

    mz float64 [n]; intensity float32 [n], above 0; pixel int32 [n], the spectrum's number among all of the section.
    """

    mz: np.ndarray
    intensity: np.ndarray
    pixel: np.ndarray

    def __len__(self) -> int:
        return len(self.mz)

    def between(self, low: float, high: float) -> Peaks:
        """Those with low <= m/z <= high, without a copy."""
        start, stop = np.searchsorted(self.mz, low, "left"), np.searchsorted(self.mz, high, "right")
        return Peaks(self.mz[start:stop], self.intensity[start:stop], self.pixel[start:stop])


def is_profile(imzml: Imzml, spectra_are: str) -> bool:
    """Whether peaks are to be picked. spectra_are: "profile" | "centroid" | "auto" (what the file says of itself).

    Raises `UsageError` for "auto" where the file says nothing.
    """
    kind = imzml.header.spectra if spectra_are == "auto" else spectra_are
    if kind is None:
        raise UsageError(f"{imzml.path}: says neither 'centroid' nor 'profile spectrum'; name one of them")
    return kind == "profile"


def noise_of(intensity: np.ndarray) -> float:
    """The noise of one profile spectrum: the median absolute deviation of all its points, as a standard deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(intensity - np.median(intensity)))) if len(intensity) else 0.0


def pick(mz: np.ndarray, intensity: np.ndarray, *, min_snr: float) -> tuple[np.ndarray, np.ndarray]:
    """The peaks of one profile spectrum: local maxima above `min_snr` times its noise; m/z of the apex, its height."""
    apex, height = centroid(mz, intensity)
    high = height > min_snr * noise_of(intensity)
    return apex[high], height[high]


def read_peaks(imzml: Imzml, rows: range, *, profile: bool, min_snr: float = DEFAULT_SNR) -> tuple[Peaks, np.ndarray]:
    """The peaks of a range of spectra, and their total ion counts float64 [len(rows)].

    The total is over all positive values as they are stored, before any picking. Raises `UsageError` as `spectra`.
    """
    masses, heights, counts = [np.empty(0)], [np.empty(0, dtype=np.float32)], []
    tic = np.zeros(len(rows))
    for number, (mz, intensity) in enumerate(spectra(imzml, rows)):
        tic[number] = intensity[intensity > 0].sum()
        if profile:
            mz, intensity = pick(mz, intensity, min_snr=min_snr)
        with np.errstate(over="ignore"):  # told of below
            intensity = intensity.astype(np.float32)
        kept = intensity > 0  # a baseline may leave values below 0
        masses.append(mz[kept])
        heights.append(intensity[kept])
        counts.append(int(kept.sum()))
    mz, height = np.concatenate(masses), np.concatenate(heights)
    del masses, heights  # as much again, while all is sorted
    if not np.isfinite(height).all():
        raise UsageError(f"{imzml.path}: an intensity beyond what float32 holds ({np.finfo(np.float32).max:.3g})")
    pixel = np.repeat(np.arange(rows.start, rows.stop, dtype=np.int32), counts)
    order = np.argsort(mz, kind="stable")
    return Peaks(mz[order], height[order], pixel[order]), tic
