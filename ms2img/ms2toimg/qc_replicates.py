"""Do the replicates of an accession look like each other, and not like somebody else's?

Similarity is the cosine of profiles after the mean sample is taken off: what all samples share (background, the
commonest compounds) would make strangers alike. Replicates are near 1, strangers about 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ms2img.ms2toimg.qc_findings import Finding, Flag
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_profiles import CHUNK


@dataclass(frozen=True)
class Agreement:
    """Mean similarities of each run, float64 [n]: to its replicates, to strangers, to the nearest other accession.

    ``own`` is NaN for a run without replicate, and everything is where there are no strangers. ``nearest`` holds
    indices into ``accessions``, the names of those with replicates; -1 where there is none.
    """

    accessions: tuple[str, ...]
    own: np.ndarray
    strangers: np.ndarray
    nearest: np.ndarray
    nearest_similarity: np.ndarray


@dataclass(frozen=True)
class Swap:
    """Two runs (row numbers) that each prefer the other's accession to their own by at least `margin`."""

    first: int
    second: int
    margin: float


@dataclass(frozen=True, eq=False)
class _Groups:
    """Accessions with replicates: sums of their rows [groups, pixels], sizes, and each run's group or -1."""

    names: tuple[str, ...]
    sums: np.ndarray
    sizes: np.ndarray
    of_run: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, accessions: np.ndarray) -> _Groups:
        names, inverse, counts = np.unique(accessions, return_inverse=True, return_counts=True)
        repeated = np.flatnonzero(counts > 1)
        number = np.full(len(names), -1)
        number[repeated] = np.arange(len(repeated))
        of_run = number[inverse]
        sums = np.zeros((len(repeated), rows.shape[1]), dtype=np.float32)
        for group, row in zip(of_run, rows, strict=True):
            if group >= 0:
                sums[group] += row
        return cls(tuple(str(name) for name in names[repeated]), sums, counts[repeated], of_run)


def agreement(rows: np.ndarray, accessions: np.ndarray) -> Agreement:
    """`rows`: centred rows of length 1, float32 [n, pixels], of samples; `accessions`: their names [n]."""
    groups = _Groups.of(rows, accessions)
    n = len(rows)
    own, strangers, best = (np.full(n, np.nan) for _ in range(3))
    nearest = np.full(n, -1)
    total = rows.sum(axis=0, dtype=np.float64).astype(np.float32)
    for start in range(0, n, CHUNK):
        here = np.arange(start, min(start + CHUNK, n))
        chunk = rows[here]
        itself = np.einsum("ij,ij->i", chunk, chunk)
        everybody = chunk @ total
        group = groups.of_run[here]
        has = np.flatnonzero(group >= 0)
        to_groups = (chunk @ groups.sums.T).astype(np.float64)  # [chunk, groups]
        with_own = itself.astype(np.float64)
        size = np.ones(len(here))
        with_own[has] = to_groups[has, group[has]]
        size[has] = groups.sizes[group[has]]
        own[here[has]] = (with_own[has] - itself[has]) / (size[has] - 1)
        others = n - size
        strangers[here] = np.where(others > 0, (everybody - with_own) / np.maximum(others, 1), np.nan)
        means = to_groups / groups.sizes
        means[has, group[has]] = -np.inf
        if means.shape[1] > 1:
            nearest[here] = means.argmax(axis=1)
            best[here] = means.max(axis=1)
    return Agreement(groups.names, own, strangers, nearest, best)


def swaps(rows: np.ndarray, accessions: np.ndarray, found: Agreement, margin: float) -> list[Swap]:
    """Pairs of runs of two accessions that would each fit the other's replicates better by at least `margin`.

    The partner itself is left out of the mean: it is the one that would be in the wrong place. A run is in one pair
    at most, the clearest first.
    """
    groups = _Groups.of(rows, accessions)
    # A run in the wrong place is nearer to its true accession even with the wrong partner in that one's mean.
    candidates = np.flatnonzero((groups.of_run >= 0) & (found.own < found.nearest_similarity))
    group, size = groups.of_run[candidates], groups.sizes[groups.of_run[candidates]]
    chosen = rows[candidates]
    pairs: list[Swap] = []
    for start in range(0, len(candidates), CHUNK):
        here = slice(start, min(start + CHUNK, len(candidates)))
        gain = _gains(chosen[here], found.own[candidates[here]], chosen, groups.sums[group], size)
        back = _gains_back(chosen[here], groups.sums[group[here]], size[here], chosen, found.own[candidates])
        both = np.minimum(gain, back)
        both[group[here, None] == group[None, :]] = -np.inf
        for i, j in zip(*np.nonzero(both >= margin), strict=True):
            if start + i < j:
                pairs.append(Swap(int(candidates[start + i]), int(candidates[j]), float(both[i, j])))
    return list(_clearest(pairs))


def _gains(chunk: np.ndarray, own: np.ndarray, other: np.ndarray, sums: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[chunk, other]: how much nearer a run is to the replicates of another one than to its own."""
    return (chunk @ sums.T - chunk @ other.T) / (size - 1) - own[:, None]


def _gains_back(
    chunk: np.ndarray, sums: np.ndarray, size: np.ndarray, other: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """[chunk, other]: the same of the other one with respect to the replicates of this."""
    return (sums @ other.T - chunk @ other.T) / (size - 1)[:, None] - own[None, :]


def _clearest(pairs: list[Swap]) -> Iterator[Swap]:
    taken: set[int] = set()
    for pair in sorted(pairs, key=lambda each: (-each.margin, each.first, each.second)):
        if not {pair.first, pair.second} & taken:
            taken |= {pair.first, pair.second}
            yield pair


def findings(
    sample_ids: np.ndarray, accessions: np.ndarray, found: Agreement, pairs: list[Swap], limits: QcLimits
) -> list[Finding]:
    """Accessions and runs whose replicates agree less than strangers, and pairs that look swapped."""
    out = []
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            text = (
                f"looks like {accessions[other]} while {sample_ids[other]} of {accessions[other]} looks like "
                f"{accessions[one]}: swapped vials or labels?"
            )
            out.append(Finding(Flag.SWAPPED, "run", str(sample_ids[one]), pair.margin, limits.swap_margin, text))
    for row in np.flatnonzero(found.own < found.strangers):
        hint = f"; nearest is {found.accessions[found.nearest[row]]}" if found.nearest[row] >= 0 else ""
        text = (
            f"agrees with its replicates ({found.own[row]:.2f}) less than with strangers "
            f"({found.strangers[row]:.2f}){hint}"
        )
        value, limit = float(found.own[row]), float(found.strangers[row])
        out.append(Finding(Flag.UNLIKE_REPLICATES, "run", str(sample_ids[row]), value, limit, text))
    for name in found.accessions:
        members = accessions == name
        own, strangers = float(found.own[members].mean()), float(found.strangers[members].mean())
        if math.isfinite(strangers) and own < strangers:
            text = f"its {members.sum()} replicates agree ({own:.2f}) less than strangers do ({strangers:.2f})"
            out.append(Finding(Flag.REPLICATES_DISAGREE, "accession", name, own, strangers, text))
    return out
