"""The two measured experiments on one part of a library: similarity (Table 2) and ranking (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.evaluate.closest import closest_rows, rows_by_condition
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.evaluate.ranking import ENERGY_TOLERANCE, Ranks, concatenated, rank_true
from ms2img.massformer.evaluate.similarity import MoleculeScores, molecule_scores
from ms2img.massformer.evaluate.sources import Asked, Source
from ms2img.massformer.spectrum import SpectrumConfig, transformed

#: Candidate spectra predicted at a time (ours): 130 MB of 1,000 bins.
CANDIDATES_AT_ONCE = 2**15

#: Of an adduct and a neutral exact mass (Da), the precursor's m/z.
PrecursorOf = Callable[[str, float], float]


@dataclass(frozen=True)
class RankScores:
    """Per molecule, sorted by id: the means over its queries; and the queries' own ranks.

    norm_rank: rank / candidates, as the paper; norm_rank_released: (rank - 1) / (candidates - 1).
    top5: the share of queries whose true structure is in the first 5 %.
    """

    molecule_id: tuple[str, ...]
    norm_rank: NDArray[np.float64]  # [m]
    norm_rank_released: NDArray[np.float64]  # [m]
    top5: NDArray[np.float64]  # [m]
    queries: Ranks  # [n], in the order of the part


def similarity(part: Part, predicted: NDArray[np.float32], config: SpectrumConfig) -> MoleculeScores:
    """Table 2 of one part: `predicted` are untransformed [n, bins], one for each spectrum of the part."""
    return molecule_scores(
        predicted,
        part.spectra,
        molecule_id=part.molecule_id,
        group=part.groups,
        transform=lambda spectra: transformed(spectra, config),
        bin_width=config.bin_width,
    )


def ranking(
    part: Part, source: Source, distractors: Part, config: SpectrumConfig, *, precursor_of: PrecursorOf
) -> RankScores:
    """Table 3 of one part: every spectrum of `part` is a query; candidates as `ranking` (the module) says.

    distractors: real spectra of molecules that are not in `part`.
    """
    real = transformed(distractors.spectra, config)
    numbers = distractors.molecule_numbers()
    queries = transformed(part.spectra, config)
    true = part.molecule_numbers()
    ranked: list[tuple[NDArray[np.intp], Ranks]] = []
    for conditions, candidates in _candidates(part, source, config, precursor_of):
        for rows, predicted in zip(conditions, candidates, strict=True):
            others = closest_rows(
                part.condition[rows[0]], of=distractors.conditions, molecule=numbers, within=ENERGY_TOLERANCE
            )
            ranked.append((rows, rank_true(queries[rows], true[rows], predicted, real[others])))
    return _per_molecule(part, concatenated(ranked, len(part)))


def _candidates(
    part: Part, source: Source, config: SpectrumConfig, precursor_of: PrecursorOf
) -> Iterator[tuple[list[NDArray[np.intp]], NDArray[np.float32]]]:
    """Some distinct conditions at a time: the queries that share each, and the transformed spectra of all molecules of
    the part under it, [conditions, molecules, bins]. A model then encodes a molecule once for many conditions."""
    groups = list(rows_by_condition(part.condition).items())
    molecules = part.molecules
    step = max(1, CANDIDATES_AT_ONCE // max(1, len(molecules)))
    for start in range(0, len(groups), step):
        chosen = groups[start : start + step]
        asked = [(name, condition) for name in molecules for condition, _ in chosen]
        questions = Asked(
            [name for name, _ in asked],
            [condition for _, condition in asked],
            precursor_mz=np.array([precursor_of(condition.adduct, part.exact_mass[name]) for name, condition in asked]),
            smiles=part.smiles,
        )
        spectra = transformed(source.spectra(questions), config)
        by_condition = spectra.reshape(len(molecules), len(chosen), -1).transpose(1, 0, 2)
        yield [rows for _, rows in chosen], by_condition


def _per_molecule(part: Part, ranks: Ranks) -> RankScores:
    molecule = part.molecule_numbers()
    counts = np.bincount(molecule)

    def mean(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(molecule, values.astype(np.float64)) / counts

    return RankScores(
        molecule_id=tuple(part.molecules),
        norm_rank=mean(ranks.normalised),
        norm_rank_released=mean(ranks.normalised_released),
        top5=mean(ranks.top),
        queries=ranks,
    )
