"""What the renderer's tests draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ms2img.io.schema import SPECTRA
from ms2img.ms2toimg.points import Points

Spectrum = tuple[float, float | None, list[tuple[float, float]]]  # precursor m/z, its intensity, peaks


def table(*spectra: Spectrum) -> pa.Table:
    rows = [
        {
            "sample_id": "run",
            "spectrum_id": f"s{number}",
            "precursor_mz": precursor_mz,
            "precursor_intensity": intensity,
            "mz": [mz for mz, _ in peaks],
            "intensity": [height for _, height in peaks],
        }
        for number, (precursor_mz, intensity, peaks) in enumerate(spectra)
    ]
    return pa.Table.from_pylist(rows, schema=SPECTRA)


def make_points(precursor_mz: Any, fragment_mz: Any, size: Any, grey: Any) -> Points:
    columns = np.broadcast_arrays(
        *(np.asarray(values, np.float64) for values in (precursor_mz, fragment_mz, size, grey))
    )
    columns = [np.atleast_1d(column).copy() for column in columns]
    return Points(*columns, 1, 0, 0, 0, 0, "file")


def random_points(seed: int, n_spectra: int, *, row_mz: float | None = None) -> Points:
    """Spectra of 1-12 fragments all over the plane; fragments on multiples of `row_mz`, if given."""
    rng = np.random.default_rng(seed)
    per_spectrum = rng.integers(1, 13, n_spectra)
    fragment_mz = rng.uniform(0, 1500, per_spectrum.sum())
    if row_mz is not None:
        fragment_mz = np.floor(fragment_mz / row_mz) * row_mz
    precursor_mz = np.repeat(np.append(rng.uniform(100, 1500, n_spectra - 2), [100.0, 1499.9]), per_spectrum)
    return make_points(
        precursor_mz,
        fragment_mz,
        np.repeat(rng.uniform(0, 1, n_spectra) ** 3, per_spectrum),
        rng.uniform(size=len(fragment_mz)),
    )


def golden_spectra() -> Any:
    """300 spectra by a low-discrepancy formula, so that no random generator's version enters the hashes."""
    golden, other = 0.6180339887498949, 0.7548776662466927
    spectra = []
    for s in range(300):
        precursor_mz = 90 + 1420 * (s * golden % 1)
        peaks = [
            (precursor_mz * 1.02 * ((7 * s + 3 * k) * other % 1), 1 + 999 * ((s + 11 * k) * golden % 1) ** 4)
            for k in range(s % 40)
        ]
        spectra.append((precursor_mz, 1e5 * (s * other % 1) ** 9 if s % 3 else 0.0, peaks))
    return table(*spectra)
