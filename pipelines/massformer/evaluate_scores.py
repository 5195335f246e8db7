"""What one source of spectra (a trained model at one seed, or a floor) scored on one held-out part, ready for JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ms2img.massformer.evaluate.experiment import RankScores, ranking, similarity
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.evaluate.similarity import MoleculeScores
from ms2img.massformer.evaluate.sources import Asked, NeighbourSource, PrecursorSource, Source
from ms2img.massformer.library.adducts import parse_adduct
from pipelines.massformer.evaluate_parts import EvaluationParts

#: Measures of a molecule, each between 0 and 1, and whether more is better.
MEASURES = {
    "cosine": True,
    "cosine_each": True,
    "entropy": True,
    "norm_rank": False,
    "norm_rank_released": False,
    "top5": True,
}


@dataclass(frozen=True)
class PartScores:
    """Scores of every molecule of a part. Sources of one `name` differ by seed alone.

    measures: name of `MEASURES` -> molecule_id -> value; the ranks are absent where no ranking was asked for.
    n_candidates: mean over the queries; None without a ranking.
    """

    name: str
    seed: int | None
    part: str
    measures: Mapping[str, Mapping[str, float]]
    n_molecules: int
    n_spectra: int
    n_candidates: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PartScores:
        """The inverse of `to_dict`."""
        return cls(**values)


@dataclass(frozen=True)
class Scored:
    """Scores, and what they are of: the predicted spectra [n, bins] (untransformed), the rank of each query."""

    scores: PartScores
    predicted: np.ndarray
    ranks: RankScores | None


def score(
    parts: EvaluationParts, part_name: str, source: Source, *, seed: int | None = None, with_ranking: bool = True
) -> Scored:
    """Both experiments of one source on one held-out part."""
    started = time.monotonic()
    part = parts.held_out[part_name]
    predicted = source.spectra(Asked.of(part))
    alike = similarity(part, predicted, parts.config)
    ranks = ranking(part, source, parts.distractors, parts.config, precursor_of=precursor_mz) if with_ranking else None
    scores = PartScores(
        name=source.name,
        seed=seed,
        part=part_name,
        measures=_measures(part, alike, ranks),
        n_molecules=len(part.molecules),
        n_spectra=len(part),
        n_candidates=float(np.mean(ranks.queries.n_candidates)) if ranks else None,
        seconds=round(time.monotonic() - started, 2),
    )
    return Scored(scores, predicted, ranks)


def floors(parts: EvaluationParts) -> list[Source]:
    """The two sources that need no model."""
    return [PrecursorSource(parts.config), NeighbourSource(parts.training, parts.morgan)]


def precursor_mz(adduct: str, exact_mass: float) -> float:
    """m/z of an ion; exact_mass: Da, of the neutral molecule."""
    return parse_adduct(adduct).mz(exact_mass)


def _measures(part: Part, alike: MoleculeScores, ranks: RankScores | None) -> dict[str, dict[str, float]]:
    columns = {"cosine": alike.cosine, "cosine_each": alike.cosine_each, "entropy": alike.entropy}
    if ranks is not None:
        columns |= {
            "norm_rank": ranks.norm_rank,
            "norm_rank_released": ranks.norm_rank_released,
            "top5": ranks.top5,
        }
    names = part.molecules
    return {
        measure: {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}
        for measure, values in columns.items()
    }
