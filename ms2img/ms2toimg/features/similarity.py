"""When two features are one: three similarities between 0 and 1, and their mean.

MS2toImg, "Feature Table Construction": equivalent when the mean of the MS1, retention-time and MS/MS similarity exceeds
0.8. Where either retention time is absent, the mean is that of the other two (ours).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matchms.similarity.spectrum_similarity_functions import (
    collect_peak_pairs,
    score_best_matches,
)
from ms_entropy import calculate_entropy_similarity, clean_spectrum
from numba import njit

from ms2img.ms2toimg.features.config import FeatureOptions

EQUIVALENT = 0.8  # MS2toImg, "Feature Table Construction": the mean of the similarities exceeds it
#: A mean of three above 0.8 needs each above 3 x 0.8 - 2 = 0.4, so values differ by less than this many sigma. Rounded
#: up: it only chooses what is compared.
REACH = math.sqrt(-2 * math.log(3 * EQUIVALENT - 2)) * (1 + 1e-9)  # 1.354

Spectrum = npt.NDArray[np.floating]  # [n_peaks, 2]: m/z and intensity, as `SpectrumSimilarity.prepare` left it


@dataclass(frozen=True)
class Tolerances:
    """Sigma of the MS1 similarity, Da, and of the retention-time similarity, s."""

    mz: float
    rt: float

    @property
    def window(self) -> float:
        """Precursors at least this far apart, Da, are never equivalent."""
        return self.mz * REACH


@dataclass(frozen=True)
class SpectrumSimilarity:
    """A similarity of MS/MS spectra: each is prepared once, pairs are compared.

    `prepare` takes float64 [n_peaks, 2], m/z and intensity in any order; `compare` takes two prepared ones and answers
    0 to 1, 0 where either is empty.
    """

    prepare: Callable[[npt.NDArray[np.float64]], Spectrum]
    compare: Callable[[Spectrum, Spectrum], float]


def comparison(options: FeatureOptions) -> tuple[Tolerances, SpectrumSimilarity]:
    """How these options compare features. Their sigma of m/z is a number: the paper's is known after reading only."""
    similarity = spectrum_similarity(options.similarity, options.fragment_tolerance)
    return Tolerances(float(options.sigma_mz), options.sigma_rt), similarity


def spectrum_similarity(name: str, tolerance: float) -> SpectrumSimilarity:
    """The similarity of that name, "cosine" or "entropy"; fragments within `tolerance` (Da) are compared as one."""
    if name == "cosine":
        return SpectrumSimilarity(_sorted_peaks, lambda a, b: min(1.0, _greedy_cosine(a, b, tolerance)))
    if name == "entropy":
        return SpectrumSimilarity(
            lambda peaks: _cleaned(peaks, tolerance),
            lambda a, b: min(1.0, calculate_entropy_similarity(a, b, tolerance, clean_spectra=False)),
        )
    raise ValueError(f"no similarity is called '{name}'")


@njit
def gaussian(difference: float, sigma: float) -> float:
    """exp(-0.5 (d/sigma)^2), of MS2toImg, "Feature Table Construction": 1 for equal values, near 0 for distant ones."""
    similarity: float = math.exp(-0.5 * (difference / sigma) ** 2)
    return similarity


def _sorted_peaks(peaks: npt.NDArray[np.float64]) -> Spectrum:
    """Peaks above 0 by rising m/z, as matchms requires."""
    above = peaks[peaks[:, 1] > 0]
    return np.ascontiguousarray(above[np.argsort(above[:, 0], kind="stable")])


@njit
def _greedy_cosine(first: Spectrum, second: Spectrum, tolerance: float) -> float:
    """matchms's `CosineGreedy`, without its `Spectrum` objects (which cost 50 times the comparison)."""
    pairs = collect_peak_pairs(first, second, tolerance, 0.0, 0.0, 1.0)
    if pairs is None:
        return 0.0
    best_first = np.argsort(pairs[:, 2], kind="mergesort")[::-1]
    score: float = score_best_matches(pairs[best_first], first, second, 0.0, 1.0)[0]
    return score


def _cleaned(peaks: npt.NDArray[np.float64], tolerance: float) -> Spectrum:
    """As ms_entropy requires: peaks further apart than twice the tolerance, those above 1 % of the highest, sum 1.

    The 1 % is its default, and Li et al.'s (Nature Methods 18, 1524, 2021).
    """
    cleaned: Spectrum = clean_spectrum(peaks.astype(np.float32), min_ms2_difference_in_da=max(0.05, 2 * tolerance))
    return cleaned
