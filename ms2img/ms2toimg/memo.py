"""A run as counts of words: fragments and neutral losses of its MS/MS, without any alignment.

MEMO (Gaudry et al., Frontiers in Bioinformatics 2:842964, 2022): a peak is the word ``peak@123.46``, a peak's distance
to its precursor the word ``loss@18.01``; a run is how often each occurs. Runs of different instruments and gradients
then share words without sharing retention times.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pydantic import Field, model_validator

from ms2img.config import Config

PEAK, LOSS = "peak", "loss"


class MemoConfig(Config):
    """Which peaks become words; defaults are those of MEMO's released code."""

    min_relative_intensity: float = Field(
        default=0.01, ge=0, le=1, description="peaks below this share of their spectrum's highest are no words"
    )
    min_peaks: int = Field(default=10, ge=1, description="spectra left with fewer peaks have no words")
    loss_from: float = Field(default=10.0, ge=0, description="smallest neutral loss that is a word, Da")
    loss_to: float = Field(default=200.0, gt=0, description="largest neutral loss that is a word, Da")
    decimals: int = Field(default=2, ge=0, le=4, description="decimals of m/z and losses in a word")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.loss_from > self.loss_to:
            raise ValueError(f"loss_from {self.loss_from:g} exceeds loss_to {self.loss_to:g}")
        return self


def memo_words(spectra: pa.Table, config: MemoConfig) -> dict[str, int]:
    """How often each word occurs in the spectra of one run (schema `ms2img.io.schema.SPECTRA`).

    Losses are precursor m/z - fragment m/z, as if singly charged. Words are rounded half to even.
    """
    lists = spectra["mz"].combine_chunks()
    length = np.diff(lists.offsets.to_numpy())
    mz = lists.flatten().to_numpy(zero_copy_only=False)
    intensity = spectra["intensity"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    spectrum = np.repeat(np.arange(len(length)), length)
    kept = _kept(intensity, spectrum, len(length), config)
    mz, precursor = mz[kept], spectra["precursor_mz"].to_numpy()[spectrum[kept]]
    loss = precursor - mz
    loss = loss[(loss >= config.loss_from) & (loss <= config.loss_to)]
    return _counted(PEAK, mz, config.decimals) | _counted(LOSS, loss, config.decimals)


def memo_matrix(counts: Iterable[Mapping[str, int]]) -> tuple[sp.csr_matrix, tuple[str, ...]]:
    """Counts of several runs as a matrix [n, words], float64 CSR, and the words of its columns, sorted.

    The counts are taken one after another, so that a generator never holds more than one run's.
    """
    column: dict[str, int] = {}
    columns, values, ends = array("i"), array("d"), [0]
    for of_run in counts:
        columns.extend(column.setdefault(word, len(column)) for word in of_run)
        values.extend(of_run.values())
        ends.append(len(columns))
    words = tuple(sorted(column))
    place = np.empty(len(column), dtype=np.int32)
    for index, word in enumerate(words):
        place[column[word]] = index
    parts = np.asarray(values), place[np.asarray(columns)], np.array(ends)
    matrix = sp.csr_matrix(parts, shape=(len(ends) - 1, len(words)))
    matrix.sort_indices()
    return matrix, words


def _kept(intensity: np.ndarray, spectrum: np.ndarray, n_spectra: int, config: MemoConfig) -> np.ndarray:
    """Which peaks are words: high enough in their spectrum, which has enough of them."""
    highest = np.zeros(n_spectra)
    np.maximum.at(highest, spectrum, intensity)
    high = (intensity > 0) & (intensity >= config.min_relative_intensity * highest[spectrum])
    enough = np.bincount(spectrum[high], minlength=n_spectra) >= config.min_peaks
    return high & enough[spectrum]


def _counted(kind: str, values: np.ndarray, decimals: int) -> dict[str, int]:
    """``kind@value`` -> how often."""
    found, number = np.unique(np.rint(values * 10**decimals).astype(np.int64), return_counts=True)
    return {f"{kind}@{key / 10**decimals:.{decimals}f}": int(n) for key, n in zip(found, number, strict=True)}
