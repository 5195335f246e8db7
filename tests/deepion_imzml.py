"""imzML files for the tests, written by pyimzML, and damaged afterwards by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyimzml.ImzMLWriter import ImzMLWriter

Spectrum = tuple[Sequence[float], Sequence[float]]

#: Three small spectra and their places: an L of a square.
PEAKS = [([100.0, 200.5, 300.25], [1.0, 2.0, 3.0]), ([150.5], [7.0]), ([99.5, 100.5], [0.5, 0.25])]
PLACES = [(1, 1), (2, 1), (2, 2)]


def write_imzml(path: Path, spectra: Sequence[Spectrum], positions: Sequence[tuple[int, ...]], **options: Any) -> Path:
    """Write spectra (m/z, intensity) at 1-based positions; `options` are those of pyimzML's writer."""
    with ImzMLWriter(str(path), **{"mode": "processed", "polarity": "positive"} | options) as writer:
        for (mz, intensity), place in zip(spectra, positions, strict=True):
            writer.addSpectrum(np.asarray(mz, dtype=float), np.asarray(intensity, dtype=float), place)
    return path


def edit(path: Path, change: Callable[[str], str]) -> Path:
    """Rewrite the XML half; a change that changes nothing is a defect of the test."""
    before = path.read_text(encoding="latin-1")
    after = change(before)
    assert after != before
    path.write_text(after, encoding="latin-1")
    return path
