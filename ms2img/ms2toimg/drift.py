"""Simulated drift: what a run's spectra would be on an instrument that has changed since the model was trained.

MS2toImg argues that images withstand such changes ("Discussion") and does not try it. Every perturbation is ours, small
enough to state in a line, and alone by default; `docs/drift.md` says which of them an image cannot see by construction.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, RunError
from ms2img.io.schema import SPECTRA, require
from ms2img.ms2toimg.drift_config import Drift

DRIFT_VERSION = 1  # raised by hand when the same options give other numbers
TILT_FROM, TILT_TO = (
    100.0,
    1500.0,
)  # m/z between which the response changes by the factor of the tilt (the image's axis)

Floats = npt.NDArray[np.float64]
NO_FINITE = "intensities leave the range of numbers; expected a smaller factor"


def drifted(spectra: pa.Table, drift: Drift, *, sample_id: str, path: str) -> pa.Table:
    """The spectra of one run (schema `SPECTRA`) after the drift; rows, their order and other columns stay.

    The response changes first, at the true m/z; then fragments are lost and m/z errors made. What is random follows
    from `drift.seed` and `sample_id` alone, and a fragment lost at one share is lost at every larger one. A spectrum
    may lose all its fragments: it then has no MS/MS. An m/z that an error would take to 0 or below stays.

    Raises `RunError` ``bad-value``, naming `path`, when an intensity leaves float32's range.
    """
    require(spectra, SPECTRA, what="drifted")
    length = pc.fill_null(pc.list_value_length(spectra["mz"]), 0).to_numpy()
    mz = pc.list_flatten(spectra["mz"]).to_numpy()
    intensity = pc.list_flatten(spectra["intensity"]).to_numpy().astype(np.float64) * _response(mz, drift)
    precursor_mz = spectra["precursor_mz"].to_numpy()
    height = pc.multiply(spectra["precursor_intensity"], pa.array(_response(precursor_mz, drift)))
    if intensity.max(initial=0.0) > np.finfo(np.float32).max or not pc.all(pc.is_finite(height), min_count=0).as_py():
        raise RunError(Code.BAD_VALUE, NO_FINITE, path=path)

    kept = _stream(drift, sample_id, "fragments").random(len(mz)) >= drift.missing_fragments
    row = np.repeat(np.arange(len(length)), length)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(length)))])
    moved = _moved(mz, drift, _stream(drift, sample_id, "fragment m/z"))[kept]
    changed = {
        "precursor_mz": pa.array(_moved(precursor_mz, drift, _stream(drift, sample_id, "precursor m/z"))),
        "precursor_intensity": height,
        "rt_seconds": pc.add(spectra["rt_seconds"], drift.retention_seconds),
        "mz": _lists(offsets, moved),
        "intensity": _lists(offsets, intensity[kept].astype(np.float32)),
    }
    columns = [changed.get(field.name, spectra[field.name]) for field in SPECTRA]
    return pa.Table.from_arrays(columns, schema=SPECTRA)


def _response(mz: Floats, drift: Drift) -> Floats:
    """The factor on an intensity at each m/z."""
    tilt = drift.intensity_tilt ** ((mz - TILT_FROM) / (TILT_TO - TILT_FROM))
    response: Floats = drift.intensity_scale * tilt
    return response


def _moved(mz: Floats, drift: Drift, random: np.random.Generator) -> Floats:
    """Each m/z as the miscalibrated instrument states it."""
    ppm = drift.mz_ppm + drift.mz_noise_ppm * random.standard_normal(len(mz))
    moved = mz * (1 + ppm * 1e-6) + drift.mz_da
    return np.where((moved > 0) & (mz > 0), moved, mz)  # 0 is how a feature without MS/MS states none


def _stream(drift: Drift, sample_id: str, what: str) -> np.random.Generator:
    """Random numbers of one purpose in one run, so that no other option and no other run moves them."""
    name = hashlib.blake2b(f"{what}\0{sample_id}".encode(), digest_size=16).digest()
    return np.random.default_rng([drift.seed, int.from_bytes(name)])


def _lists(offsets: npt.NDArray[np.int64], values: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
