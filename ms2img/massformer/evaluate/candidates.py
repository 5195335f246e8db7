"""Candidate structures for query spectra, by the spectra that are predicted for them (MassFormer, section 4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.ranking import order_of, unit_rows
from ms2img.massformer.evaluate.similarity import entropy_similarity
from ms2img.massformer.predictor import SpectrumPredictor
from ms2img.massformer.spectrum import transformed

AT_ONCE = 8192  # spectra predicted at a time (ours): 33 MB of 1,000 bins


@dataclass(frozen=True)
class Ranked:
    """Of one query: the rows of the candidates that were compared, best first, their ranks and similarities.

    rank: from 1, equals share their mean. cosine: of transformed spectra; entropy: of untransformed ones.
    """

    candidate: NDArray[np.intp]
    rank: NDArray[np.float64]
    cosine: NDArray[np.float64]
    entropy: NDArray[np.float64]


def rank_candidates(
    predictor: SpectrumPredictor,
    smiles: Sequence[str],
    queries: NDArray[np.float32],
    precursor_mz: NDArray[np.float64],
    condition: Condition,
    energies: Sequence[float | None],
    *,
    mass_ppm: float | None = None,
) -> tuple[list[Ranked], dict[int, str]]:
    """Rank candidates for queries that share their conditions; and why candidates are refused, by row.

    Parameters
    ----------
    smiles: of the candidates.
    queries: untransformed, binned [q, bins]. precursor_mz: [q].
    condition: adduct (which the model knows), energy unit and instrument type. energies: whose predictions are
        averaged, base peaks at 1: one for a query of that energy, several for one merged over them.
    mass_ppm: compare only candidates whose precursor is at most so far from the query's; None: all.
    """
    asked = unit_rows(transformed(queries, predictor.spectrum))
    cosines, entropies, masses = [], [], []
    errors: dict[int, str] = {}
    step = max(1, AT_ONCE // len(energies))
    for start in range(0, len(smiles), step):
        spectra, mz, refused = _predicted(predictor, smiles[start : start + step], condition, energies)
        cosines.append(asked @ unit_rows(transformed(spectra, predictor.spectrum)).T)
        entropies.append(_entropies(queries, spectra, predictor.spectrum.bin_width))
        masses.append(mz)
        errors |= {start + row: error for row, error in refused.items()}
    cosine, entropy, mass = (np.concatenate(each, axis=-1) for each in (cosines, entropies, masses))
    taken = np.array([row for row in range(len(smiles)) if row not in errors], dtype=np.intp)
    answers = []
    for row in range(len(queries)):
        off = np.abs(mass[taken] - precursor_mz[row])
        kept = taken if mass_ppm is None else taken[off <= 1e-6 * mass_ppm * precursor_mz[row]]
        ranks = order_of(cosine[row, kept].astype(np.float64))
        order = np.lexsort((kept, -cosine[row, kept], ranks))
        best = kept[order]
        answers.append(Ranked(best, ranks[order], cosine[row, best].astype(np.float64), entropy[row, best]))
    return answers, errors


def _predicted(
    predictor: SpectrumPredictor, smiles: Sequence[str], condition: Condition, energies: Sequence[float | None]
) -> tuple[NDArray[np.float32], NDArray[np.float64], dict[int, str]]:
    """Untransformed spectra [c, bins], the mean over energies; precursor m/z [c]; refusals by row."""
    n = len(energies)
    asked = [text for text in smiles for _ in energies]
    answer = predictor.answer(asked, [replace(condition, energy=energy) for _ in smiles for energy in energies])
    spectra = answer.spectra.reshape(len(smiles), n, -1).mean(axis=1)
    return spectra, answer.precursor_mz[::n], {row // n: error for row, error in answer.errors.items()}


def _entropies(queries: NDArray[np.float32], candidates: NDArray[np.float32], bin_width: float) -> NDArray[np.float64]:
    """[q, c]."""
    rows = [
        entropy_similarity(np.broadcast_to(query, candidates.shape), candidates, bin_width=bin_width)
        for query in queries
    ]
    return np.array(rows).reshape(len(queries), len(candidates))
