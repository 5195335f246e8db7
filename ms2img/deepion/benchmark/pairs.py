"""Isotope pairs that a search finds, against the truth of a phantom (DeepION, section 4.2).

All searches share the rules of mass and of brightness; they differ in how far apart two ions are held to be. Two
questions: what the search finds at a limit of distance, and how well the distances order the candidates whatever the
limit (average precision), for distances of different kinds have no limit in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.benchmark.methods import SIMILARITY, UMAP
from ms2img.deepion.isotopes import TOLERANCE_PPM, isotope_candidates, isotope_groups
from ms2img.deepion.phantom.truth import isotope_pairs
from ms2img.errors import UsageError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PairScores:
    """What one search found, by its parent ion, [n] each: pairs found, right ones, and pairs that are present.

    limit: of the distance. average_precision: of all candidates in the order of their distance, whatever the limit.
    """

    limit: float
    found: Floats
    right: Floats
    present: Floats
    average_precision: float

    @property
    def precision(self) -> float:
        """Share of the pairs found that are right; NaN where none was found."""
        return float(self.right.sum() / self.found.sum()) if self.found.sum() else float("nan")

    @property
    def recall(self) -> float:
        """Share of the pairs present that were found; NaN where there is none."""
        return float(self.right.sum() / self.present.sum()) if self.present.sum() else float("nan")


class PairSearch:
    """Candidates of a phantom's ion images by mass and brightness, and which of them are of one molecule.

    Raises `UsageError` for data without truth or polarity.
    """

    def __init__(self, data: Labelled, *, ppm: float = TOLERANCE_PPM) -> None:
        if data.truth is None or data.ions.polarity is None:
            lacks = "truth about its isotopes" if data.truth is None else "polarity"
            raise UsageError(f"{data.name}: has no {lacks}; expected a phantom of 'ms2img deepion simulate'")
        self._mz, self._rows = data.ions.mz, data.truth.rows
        self._candidates = isotope_candidates(data.ions.mz, data.ions.polarity, ppm)
        parent, child = self._candidates.parent, self._candidates.child
        self._bright: Flags = data.ions.intensity[parent] > data.ions.intensity[child]
        molecule = np.where(self._rows >= 0, data.truth.table["envelope"].to_numpy()[self._rows], -1)
        self._alike: Flags = (molecule[parent] == molecule[child]) & (molecule[parent] >= 0)
        there = set(self._rows.tolist())
        self._true = {pair for pair in isotope_pairs(data.truth.table) if there.issuperset(pair)}

    def apart(self, space: str, values: np.ndarray) -> Floats:
        """Of each candidate, [k], the distance of its two ions in what a method made of all n ion images.

        Similarities: 1 - theirs. UMAP: Euclidean, as the paper's limit of .25 has it. Else: 1 - cosine, in which the
        networks are trained.
        """
        parent, child = self._candidates.parent, self._candidates.child
        if space == SIMILARITY:
            return 1.0 - np.asarray(values[parent, child], np.float64)
        vectors = np.asarray(values, np.float64)
        if space == UMAP:
            return np.asarray(np.linalg.norm(vectors[parent] - vectors[child], axis=1), np.float64)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        return np.asarray(1.0 - np.einsum("kd,kd->k", units[parent], units[child]), np.float64)

    def without_images(self) -> PairScores:
        """The search that accepts every candidate: what the images add is measured from here."""
        return self.score(np.zeros(len(self._candidates)), limit=0.0)

    def score(self, apart: Floats, *, limit: float) -> PairScores:
        """The search at a limit of the distances `apart`, [k]."""
        groups = isotope_groups(self._mz, self._candidates, self._bright & (apart <= limit))
        found, right, present = (np.zeros(len(self._mz)) for _ in range(3))
        for group in groups:
            found[group.parent] += len(group.members)
            pairs = [(int(self._rows[group.parent]), int(self._rows[member.ion])) for member in group.members]
            right[group.parent] += sum(pair in self._true for pair in pairs)
        place = {row: ion for ion, row in enumerate(self._rows.tolist())}
        for parent, _ in self._true:
            present[place[parent]] += 1
        return PairScores(limit, found, right, present, self._average_precision(apart))

    def best_limit(self, apart: Floats) -> float:
        """The limit that parts candidates of one molecule from others best: chosen with the truth, so an upper bound.

        Best is the largest share of the former accepted, less that of the latter (Youden's index): unlike F1, it does
        not favour to accept all where most are right.
        """
        apart, alike = self._ranked(apart)
        if not len(apart):
            return 0.0
        right, wrong = np.cumsum(alike), np.cumsum(~alike)
        last = np.append(apart[1:] > apart[:-1], True)  # equal distances are accepted together
        index = right / max(1, right[-1]) - wrong / max(1, wrong[-1])
        return float(apart[np.where(last, index, -np.inf).argmax()])

    def _average_precision(self, apart: Floats) -> float:
        from sklearn.metrics import average_precision_score

        apart, alike = self._ranked(apart)
        return float(average_precision_score(alike, -apart)) if alike.any() else float("nan")

    def _ranked(self, apart: Floats) -> tuple[Floats, Flags]:
        """Distances that rise, and whether the two ions are of one molecule: a row a pair of ions that may be one."""
        rows = np.flatnonzero(self._bright)
        pair = self._candidates.parent[rows] * len(self._mz) + self._candidates.child[rows]
        rows = rows[np.unique(pair, return_index=True)[1]]
        rows = rows[np.argsort(apart[rows], kind="stable")]
        return apart[rows], self._alike[rows]
