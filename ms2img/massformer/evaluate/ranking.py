"""Finding the right structure among candidates by its predicted spectrum (MassFormer, section 4.5; Table 3).

Queries are the real spectra of the held-out part. The candidates of a query, one spectrum a structure:

- every molecule of the held-out part, predicted under the query's own conditions, so that metadata agree by making;
- every training and validation molecule with a real spectrum of the query's adduct whose collision energy is within
  `ENERGY_TOLERANCE` of the query's: its closest one (`ms2img.massformer.evaluate.closest`).

The paper takes "only candidates with the same metadata as the query"; its released code asks for the same adduct and an
equal collision energy, which NIST's fixed series of energies makes possible and a library of many laboratories does
not. Candidates are ordered by the cosine of transformed spectra; the true one's rank among equals is their mean rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Largest difference of collision energies between a query and a distractor, in the query's unit, NCE or eV (ours).
ENERGY_TOLERANCE = 5.0
#: Cosines closer than this are equal: what float32 sums of 1,000 bins can tell (ours).
TIE = 1e-6
TOP = 0.05  # section 4.5: "Top-5%"


@dataclass(frozen=True)
class Ranks:
    """Per query: the rank of its true structure, from 1 (halves where tied), and the number of its candidates."""

    rank: NDArray[np.float64]  # [q]
    n_candidates: NDArray[np.int64]  # [q]

    @property
    def normalised(self) -> NDArray[np.float64]:
        """Section 4.5: the rank divided by the number of candidates, above 0 to 1 [q]."""
        return self.rank / self.n_candidates

    @property
    def normalised_released(self) -> NDArray[np.float64]:
        """As the released code computes it: (rank - 1) / (candidates - 1), from 0 to 1 [q]."""
        return (self.rank - 1) / np.maximum(self.n_candidates - 1, 1)

    @property
    def top(self) -> NDArray[np.bool_]:
        """Whether the true structure is among the first 5 % of the candidates [q]."""
        return self.normalised <= TOP


def unit_rows(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1, so that products are cosines; an empty row stays empty."""
    norms = np.linalg.norm(spectra, axis=1, keepdims=True)
    return np.divide(spectra, norms, out=np.zeros_like(spectra), where=norms > 0)


def rank_true(
    queries: NDArray[np.float32],
    true: NDArray[np.int64],
    candidates: NDArray[np.float32],
    distractors: NDArray[np.float32],
) -> Ranks:
    """Rank the true candidate of queries that share their conditions, and so their candidates.

    queries: [q, bins]; true: [q], each one's row of `candidates`; candidates: [c, bins] predicted under the conditions;
    distractors: [d, bins]. All transformed; of each row only its direction counts.
    """
    asked = unit_rows(queries)
    similarity = np.concatenate([asked @ unit_rows(candidates).T, asked @ unit_rows(distractors).T], axis=1)
    own = np.take_along_axis(similarity, true[:, None], axis=1)
    above = (similarity > own + TIE).sum(axis=1)
    equal = (np.abs(similarity - own) <= TIE).sum(axis=1) - 1  # without itself
    n = np.full(len(queries), similarity.shape[1], dtype=np.int64)
    return Ranks(1.0 + above + equal / 2, n)


def concatenated(parts: list[tuple[NDArray[np.intp], Ranks]], n: int) -> Ranks:
    """Ranks of groups of queries in the order of all n: each part with the rows it is of."""
    rank, counts = np.zeros(n), np.zeros(n, dtype=np.int64)
    for rows, part in parts:
        rank[rows], counts[rows] = part.rank, part.n_candidates
    return Ranks(rank, counts)


def order_of(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, from 1, of scores [n], the highest first; equals (see `TIE`) share the mean of their ranks."""
    if len(similarity) == 0:
        return np.empty(0)
    order = np.argsort(-similarity, kind="stable")
    falling = similarity[order]
    ranks = np.empty(len(similarity))
    start = 0
    while start < len(falling):  # equal to the first of a group, not to its neighbour: else near scores chain up
        end = int(np.searchsorted(-falling, TIE - falling[start], side="right"))
        ranks[order[start:end]] = (start + 1 + end) / 2
        start = end
    return ranks
