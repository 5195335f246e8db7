"""Records that are the same: structure, conditions and peaks. Libraries copy from each other, and from themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ms2img.massformer.library.filters import Accepted

MZ_DIGITS = 4  # records state four or five digits behind the point (ours)
INTENSITY_STEPS = 1000  # records state intensities of 1000 steps (ours)


def digest(accepted: Accepted, instrument_type: str, mz: np.ndarray, intensity: np.ndarray) -> bytes:
    """16 bytes that are the same for records of one structure, one set of conditions and the same peaks.

    mz float64 [peaks], ascending, compared to 4 digits; intensity float32 [peaks], maximum 1, in steps of 0.001.
    """
    energy = accepted.energy
    conditions = (
        accepted.structure.molecule_id,
        accepted.adduct.name,
        accepted.cell,
        instrument_type,
        "" if energy is None else f"{energy.unit} {energy.is_ramp} {[round(value, 3) for value in energy.values]}",
    )
    found = hashlib.blake2b("\n".join(conditions).encode(), digest_size=16)
    found.update(np.rint(mz * 10**MZ_DIGITS).astype("<i8").tobytes())
    found.update(np.rint(intensity * INTENSITY_STEPS).astype("<i8").tobytes())
    return found.digest()


def first_of_each(ids: Iterable[str], digests: Iterable[bytes]) -> tuple[list[int], list[int], list[int]]:
    """The rows to keep, those that repeat a digest, and those whose id is that of a kept row with another digest."""
    kept: list[int] = []
    duplicates: list[int] = []
    repeated: list[int] = []
    seen: set[bytes] = set()
    named: set[str] = set()
    for row, (name, one) in enumerate(zip(ids, digests, strict=True)):
        if one in seen:
            duplicates.append(row)
        elif name in named:
            repeated.append(row)
        else:
            kept.append(row)
            seen.add(one)
            named.add(name)
    return kept, duplicates, repeated
