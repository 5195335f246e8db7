"""Two floors that give every score a meaning: what needs no model at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.closest import Conditions, closest_rows, rows_by_condition
from ms2img.massformer.spectrum import EDGE

BLOCK = 512  # molecules compared at a time


def precursor_only(precursor_mz: NDArray[np.float64], *, bin_width: float, n_bins: int) -> NDArray[np.float32]:
    """A single peak in the precursor's bin: [n, n_bins]; an empty row where the precursor is above the last bin.

    The isotope peaks of the precursor are left out: the library's spectra isolate the monoisotopic ion.
    precursor_mz: [n], m/z. bin_width: Da, half-open bins from 0.
    """
    bins = np.floor(np.asarray(precursor_mz, dtype=np.float64) / bin_width + EDGE).astype(np.int64)
    answer = np.zeros((len(bins), n_bins), dtype=np.float32)
    inside = np.flatnonzero((bins >= 0) & (bins < n_bins))
    answer[inside, bins[inside]] = 1.0
    return answer


def tanimoto(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tanimoto similarity of bit fingerprints [n, bits] and [m, bits]: [n, m]; 0 where both are empty."""
    ours, theirs = first.astype(np.float32), second.astype(np.float32)
    shared = ours @ theirs.T
    either = ours.sum(axis=1)[:, None] + theirs.sum(axis=1)[None, :] - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)


def nearest_neighbour(
    fingerprint: NDArray[np.uint8],
    asked: Sequence[Condition],
    molecule: NDArray[np.int64],
    *,
    library_fingerprint: NDArray[np.uint8],
    library: Conditions,
    library_molecule: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For every spectrum asked for, the row of the library that stands in for it; -1 where its adduct is unknown there.

    That is: of the library's molecules with a spectrum of the adduct asked for, the one most like the molecule by
    Tanimoto (of equals the first), and its spectrum under the closest conditions.

    fingerprint: [m, bits] of the molecules asked for; asked, molecule: condition and row of `fingerprint` of each of n
    spectra. library_fingerprint: [l, bits]; library, library_molecule: the same of the library's spectra.
    """
    answer = np.full(len(molecule), -1, dtype=np.int64)
    neighbours: dict[str, NDArray[np.int64]] = {}
    for condition, rows in rows_by_condition(asked).items():
        closest = closest_rows(condition, of=library, molecule=library_molecule)
        if len(closest) == 0:
            continue
        has = library_molecule[closest]  # rising: the molecules with a spectrum of the adduct
        if condition.adduct not in neighbours:
            neighbours[condition.adduct] = _most_alike(fingerprint, library_fingerprint[has])
        answer[rows] = closest[neighbours[condition.adduct][molecule[rows]]]
    return answer


def _most_alike(fingerprint: NDArray[np.uint8], library: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of the library's fingerprint most like each: [m], of equals the first."""
    blocks = [fingerprint[start : start + BLOCK] for start in range(0, len(fingerprint), BLOCK)]
    return np.concatenate([tanimoto(block, library).argmax(axis=1) for block in blocks])
