"""How alike predicted and real spectra are, per molecule (MassFormer, section 4.4; Table 2).

The score of a molecule, as the released code computes it (``spec_utils.merge_spec``): the spectra of one molecule,
adduct and instrument are merged over their collision energies, the mean of untransformed spectra whose base peak is 1;
the merged spectrum is transformed; the cosine of predicted and real is averaged over the molecule's groups. Merging
hides what is wrong at single energies, so the mean over a molecule's single spectra is told too (`cosine_each`): it is
lower, and what a training's validation tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Rows of spectra that are scaled, merged and transformed at a time: 4 MB of 1,000 bins (ours).
BLOCK = 1024
#: Peaks below this share of the base peak do not count for the entropy (the default of ms_entropy).
NOISE = 0.01
#: m/z tolerance of the entropy similarity in bins: above 0, and below half a bin, so that no two bins ever match.
TOLERANCE_BINS = 0.25

Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class MoleculeScores:
    """One row a molecule: its id, the means of its groups' cosine and entropy similarities (0-1), its groups.

    cosine_each: mean over the molecule's single spectra, none merged.
    """

    molecule_id: tuple[str, ...]
    cosine: NDArray[np.float64]  # [m]
    cosine_each: NDArray[np.float64]  # [m]
    entropy: NDArray[np.float64]  # [m]
    n_groups: NDArray[np.int64]  # [m]


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row by row cosine of [n, bins] and [n, bins]: [n]; 0 where either row is empty. Equation 3 is 1 - this."""
    if first.shape != second.shape:
        raise ValueError(f"spectra of shape {first.shape} and {second.shape}: one row each is compared")
    dot = np.einsum("nb,nb->n", first, second, dtype=np.float64)
    norms = np.sqrt(
        np.einsum("nb,nb->n", first, first, dtype=np.float64) * np.einsum("nb,nb->n", second, second, dtype=np.float64)
    )
    return np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)


def entropy_similarity(
    first: NDArray[np.float32], second: NDArray[np.float32], *, bin_width: float
) -> NDArray[np.float64]:
    """Row by row spectral entropy similarity (weighted, as ms_entropy defines it) of untransformed binned spectra: [n].

    bin_width: Da. Bins below 1 % of the base peak are noise; 0 where either row is empty.
    """
    from ms_entropy import calculate_entropy_similarity

    tolerance = TOLERANCE_BINS * bin_width
    answer = np.zeros(len(first))
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        if one.any() and other.any():
            answer[row] = calculate_entropy_similarity(
                _peaks(one, bin_width),
                _peaks(other, bin_width),
                ms2_tolerance_in_da=tolerance,
                clean_spectra=True,
                noise_threshold=NOISE,
            )
    return answer


def merged(spectra: NDArray[np.float32], group: NDArray[np.int64], n_groups: int) -> NDArray[np.float32]:
    """The mean over each group of spectra [n, bins] scaled to a base peak of 1: [n_groups, bins].

    spectra: untransformed. group: [n], from 0 to n_groups - 1; every group has a row.
    """
    sums = np.zeros((n_groups, spectra.shape[1]), dtype=np.float32)
    for start in range(0, len(spectra), BLOCK):
        block = spectra[start : start + BLOCK]
        top = block.max(axis=1, keepdims=True)
        np.add.at(sums, group[start : start + BLOCK], np.divide(block, top, out=np.zeros_like(block), where=top > 0))
    counts = np.bincount(group, minlength=n_groups)
    means: NDArray[np.float32] = sums / counts.astype(np.float32)[:, None]
    return means


def molecule_scores(
    predicted: NDArray[np.float32],
    real: NDArray[np.float32],
    *,
    molecule_id: Sequence[str],
    group: Sequence[tuple[str, ...]],
    transform: Transform,
    bin_width: float,
) -> MoleculeScores:
    """Cosine and entropy similarity of every molecule, in the order of their ids.

    predicted, real: untransformed [n, bins]. group: of each row, what of its metadata is kept apart when energies are
    merged: (adduct, instrument). transform: of [rows, bins], what the cosine is taken on. bin_width: Da.
    """
    keys = sorted({(name, *parts) for name, parts in zip(molecule_id, group, strict=True)})
    place = {key: number for number, key in enumerate(keys)}
    rows = np.array([place[(name, *parts)] for name, parts in zip(molecule_id, group, strict=True)], dtype=np.int64)
    ours, theirs = merged(predicted, rows, len(keys)), merged(real, rows, len(keys))
    names = sorted({key[0] for key in keys})
    of_molecule = np.searchsorted(names, [key[0] for key in keys])
    each_row = np.searchsorted(names, list(molecule_id))
    each = np.concatenate(
        [
            cosine(transform(predicted[start : start + BLOCK]), transform(real[start : start + BLOCK]))
            for start in range(0, len(real), BLOCK)
        ]
    )
    return MoleculeScores(
        molecule_id=tuple(names),
        cosine=_means(cosine(transform(ours), transform(theirs)), of_molecule),
        cosine_each=_means(each, each_row),
        entropy=_means(entropy_similarity(ours, theirs, bin_width=bin_width), of_molecule),
        n_groups=np.bincount(of_molecule, minlength=len(names)),
    )


def _means(values: NDArray[np.float64], molecule: NDArray[np.intp]) -> NDArray[np.float64]:
    """The mean of the values of each molecule; every number from 0 on has one."""
    means: NDArray[np.float64] = np.bincount(molecule, values) / np.bincount(molecule)
    return means


def _peaks(spectrum: NDArray[np.float32], bin_width: float) -> NDArray[np.float32]:
    """The filled bins as peaks [p, 2]: m/z of the bin's middle, intensity."""
    filled = np.flatnonzero(spectrum)
    return np.column_stack([(filled + 0.5) * bin_width, spectrum[filled]]).astype(np.float32)
