"""The search of ``ms2img deepion isotopes``: pairs by mass, those that the images support, groups, and their table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ms2img.deepion.embedding_folder import Embedding
from ms2img.deepion.isotopes import Candidates, Group, isotope_candidates, isotope_groups, linked
from ms2img.deepion.phantom.truth import PairScore, match, read_truth, score_pairs
from ms2img.errors import UsageError

#: One row an isotope ion of a group, group by group in the order of the parents' m/z.
GROUPED = pa.schema(
    [
        pa.field("group", pa.int32(), nullable=False),  # number of the group, from 1
        pa.field("parent_mz", pa.float64(), nullable=False),  # Da / charge, of the monoisotopic ion
        pa.field("child_mz", pa.float64(), nullable=False),  # Da / charge, of the isotope
        pa.field("isotope", pa.string(), nullable=False),  # the heavy isotope, such as 13C
        pa.field("exchanges", pa.int32(), nullable=False),  # heavy atoms in the child, 1 or more
        pa.field("charge", pa.int32(), nullable=False),  # 1 or 2
        pa.field("error_ppm", pa.float64(), nullable=False),  # found minus expected m/z of the child
        pa.field("distance", pa.float64(), nullable=False),  # Euclidean, of the embeddings
        pa.field("parent_intensity", pa.float64(), nullable=False),  # mean over the pixels, before any scaling
        pa.field("child_intensity", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates by mass, which of them the images support (bool [k]), each one's distance [k], and the groups."""

    candidates: Candidates
    accepted: NDArray[np.bool_]
    distance: NDArray[np.float64]
    groups: list[Group]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(parent, child) of every isotope ion of a group, as rows of the embedding."""
        return [(group.parent, member.ion) for group in self.groups for member in group.members]

    def edges(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Pairs (parent, child) of the accepted candidates, or of those in `rows`: [p, 2], rising, each once.

        A pair is several candidates where it fits several rules: four atoms of 13C at charge 2 are two at charge 1.
        """
        chosen = self.accepted if rows is None else rows
        return np.unique(np.stack([self.candidates.parent[chosen], self.candidates.child[chosen]], axis=1), axis=0)

    def counts(self) -> dict[str, int]:
        """What there was on the way: pairs by mass, those that the images support, groups, their isotope ions."""
        return {
            "candidates": len(self.edges(np.ones(len(self.candidates), bool))),
            "accepted": len(self.edges()),
            "groups": len(self.groups),
            "isotopes": len(self.pairs),
        }


@dataclass(frozen=True)
class Scores:
    """The pairs of the groups against a truth, and as a floor those that mass and intensity make without any image."""

    found: PairScore
    without_images: PairScore
    matched: int  # ions of the embedding that are ions of the truth


def search(embedding: Embedding, polarity: str, *, ppm: float, furthest: float) -> Found:
    """DeepION's isotope search, section 4.2: see `ms2img.deepion.isotopes`. `UsageError` for a bad `polarity`."""
    candidates = isotope_candidates(embedding.mz, polarity, ppm)
    reduced = embedding.reduced.astype(np.float64)
    accepted = linked(candidates, embedding.intensity, reduced, furthest)
    distance = np.linalg.norm(reduced[candidates.parent] - reduced[candidates.child], axis=1)
    return Found(candidates, accepted, distance, isotope_groups(embedding.mz, candidates, accepted))


def table_of(embedding: Embedding, found: Found) -> pa.Table:
    """The groups, schema `GROUPED`."""
    listed = [(number, group.parent, each) for number, group in enumerate(found.groups, 1) for each in group.members]
    number = np.array([each[0] for each in listed], np.int32)
    parent = np.array([each[1] for each in listed], np.int64)
    child = np.array([each[2].ion for each in listed], np.int64)
    row = np.array([each[2].row for each in listed], np.int64)
    candidates = found.candidates
    columns = [
        number,
        embedding.mz[parent],
        embedding.mz[child],
        [candidates.isotope(each) for each in row.tolist()],
        candidates.exchanges[row],
        candidates.charge[row],
        candidates.error_ppm[row],
        found.distance[row],
        embedding.intensity[parent],
        embedding.intensity[child],
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, GROUPED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=GROUPED)


def scores_of(embedding: Embedding, found: Found, truth: str, *, ppm: float) -> Scores:
    """Precision and recall against the truth of a phantom; `UsageError` for another file, or another phantom's."""
    table = read_truth(truth)
    rows = match(embedding.mz, table, ppm)
    matched = int((rows >= 0).sum())
    if not matched:
        raise UsageError(f"{truth}: none of its ions is within {ppm:g} ppm of one of the embedding; is it of this one?")
    reduced = embedding.reduced.astype(np.float64)
    accepted = linked(found.candidates, embedding.intensity, reduced, math.inf)
    groups = isotope_groups(embedding.mz, found.candidates, accepted)
    without_images = [(group.parent, member.ion) for group in groups for member in group.members]
    return Scores(score_pairs(found.pairs, rows, table), score_pairs(without_images, rows, table), matched)
