"""Which ions may be isotopes of which, by mass alone, and how accepted pairs become isotope groups.

DeepION's isotope search (the paper's section 4.2; masses and limits are the released code's, for its Material S2 is not
public) accepts a pair when three things agree: the mass difference is that of an isotope, the lighter ion is the
brighter one, and the two images lie close to each other in the ISO embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.errors import UsageError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TOLERANCE_PPM = 10.0  # released code
FURTHEST = 0.25  # released code: distance of two embeddings, each coordinate scaled to 0-1
CHARGES = (1, 2)  # released code: z = 2 as half steps


@dataclass(frozen=True)
class Rule:
    """One heavy isotope: Da that an exchanged atom adds, and how many exchanges are looked for."""

    isotope: str
    step: float
    most: int


# Steps are the released code's, which tries the rules in this order.
_CARBON = Rule("13C", 1.00336, 4)
# Two exchanges of the others: the authors' table has pairs of 2 x 34S; more would be +6 Da, beyond carbon's +4.
_SULPHUR = Rule("34S", 1.9958, 2)
_POTASSIUM = Rule("41K", 1.99812, 2)
_CHLORINE = Rule("37Cl", 1.99705, 2)
_BROMINE = Rule("81Br", 1.99795, 2)
#: polarity -> rules in order. 34S of a negative ion lies 1.3 mDa from 37Cl: within the tolerance above m/z 125.
RULES: dict[str, tuple[Rule, ...]] = {
    "positive": (_CARBON, _SULPHUR, _POTASSIUM),
    "negative": (_CARBON, _CHLORINE, _BROMINE),
}


@dataclass(frozen=True)
class Candidates:
    """Pairs of ions whose mass difference fits a rule, k in all; a pair that fits two rules is there twice.

    Ordered as the search tries them: by parent's m/z, charge, rule, exchanges, then by size of the mass error.
    """

    polarity: str
    parent: Integers  # [k], index of the lighter ion
    child: Integers  # [k], index of the heavier one
    rule: Integers  # [k], place in `RULES[polarity]`
    exchanges: Integers  # [k], heavy atoms in the child, 1 or more
    charge: Integers  # [k], 1 or 2
    error_ppm: Floats  # [k], found minus expected m/z of the child, of the parent's m/z

    def __len__(self) -> int:
        return len(self.parent)

    def isotope(self, row: int) -> str:
        """The heavy isotope of one pair, e.g. ``13C``."""
        return RULES[self.polarity][self.rule[row]].isotope


@dataclass(frozen=True)
class Member:
    """An isotope ion of a group: its index, and the row of `Candidates` that made it one."""

    ion: int
    row: int


@dataclass(frozen=True)
class Group:
    """A monoisotopic ion (its index) and its isotope ions in the order found, at least one."""

    parent: int
    members: tuple[Member, ...]


def isotope_candidates(mz: Floats, polarity: str, ppm: float = TOLERANCE_PPM) -> Candidates:
    """All pairs of the ions `mz` [n] (Da/charge, any order) that differ by an isotope step within `ppm`.

    Raises `UsageError` for a polarity that is neither positive nor negative, for an m/z that is not a positive number
    and for a tolerance that is not one.
    """
    mz = _checked(mz, polarity, ppm)
    order = np.argsort(mz, kind="stable")
    ascending = mz[order]
    tolerance = ascending * ppm * 1e-6
    found: list[tuple[Integers, ...]] = []
    for charge in CHARGES:
        for number, rule in enumerate(RULES[polarity]):
            for exchanges in range(1, rule.most + 1):
                target = ascending + exchanges * rule.step / charge
                parent, child = _within(ascending, target - tolerance, target + tolerance)
                same = np.ones_like(parent)
                found.append((parent, child, charge * same, number * same, exchanges * same))
    parent, child, charge_of, rule_of, exchanges_of = (np.concatenate(column) for column in zip(*found, strict=True))
    steps = np.array([rule.step for rule in RULES[polarity]])[rule_of] * exchanges_of / charge_of
    error = (ascending[child] - ascending[parent] - steps) / ascending[parent] * 1e6
    rows = np.lexsort((np.abs(error), exchanges_of, rule_of, charge_of, parent))
    return Candidates(
        polarity=polarity,
        parent=order[parent[rows]],
        child=order[child[rows]],
        rule=rule_of[rows],
        exchanges=exchanges_of[rows],
        charge=charge_of[rows],
        error_ppm=error[rows],
    )


def linked(candidates: Candidates, brightness: Floats, embedding: Floats, furthest: float = FURTHEST) -> Flags:
    """Which candidates the images support: [k]; the parent is brighter, and the pair's embeddings are near.

    brightness: [n], e.g. an ion's mean intensity over all pixels, before any scaling of its own.
    embedding: [n, d], of the ISO mode, each coordinate scaled to 0-1; `furthest` is a Euclidean distance.
    """
    parent, child = candidates.parent, candidates.child
    apart = np.linalg.norm(embedding[parent] - embedding[child], axis=1)
    return (brightness[parent] > brightness[child]) & (apart <= furthest)


def isotope_groups(mz: Floats, candidates: Candidates, accepted: Flags) -> list[Group]:
    """Accepted pairs as groups, one for each monoisotopic ion, by ascending m/z.

    From the lightest ion up, each gathers its isotopes rule by rule; an exchange counts only after one atom fewer was
    found (no 13C3 without 13C2), and an ion belongs to one group, as a parent or as a child. Of several ions
    for one place the nearest in mass is taken.
    """
    rows = np.flatnonzero(accepted)
    of_parent: dict[int, list[int]] = {}
    for row in rows.tolist():
        of_parent.setdefault(int(candidates.parent[row]), []).append(row)
    claimed: set[int] = set()
    groups = []
    for parent in sorted(of_parent, key=lambda ion: mz[ion]):
        if parent in claimed:
            continue
        members = tuple(_gather(candidates, of_parent[parent], claimed))
        if members:
            groups.append(Group(parent, members))
    return groups


def _gather(candidates: Candidates, rows: list[int], claimed: set[int]) -> Iterator[Member]:
    reached: dict[tuple[int, int], int] = {}  # (charge, rule) -> exchanges found so far
    for row in rows:
        ladder = (int(candidates.charge[row]), int(candidates.rule[row]))
        ion = int(candidates.child[row])
        if ion not in claimed and candidates.exchanges[row] == reached.get(ladder, 0) + 1:
            reached[ladder] = int(candidates.exchanges[row])
            claimed.add(ion)
            yield Member(ion, row)


def _within(ascending: Floats, low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """All (i, j) with low[i] <= ascending[j] <= high[i]."""
    first = np.searchsorted(ascending, low, "left")
    count = np.searchsorted(ascending, high, "right") - first
    i = np.repeat(np.arange(len(low)), count)
    before = np.repeat(np.cumsum(count) - count, count)
    return i, np.repeat(first, count) + np.arange(len(i)) - before


def _checked(mz: Floats, polarity: str, ppm: float) -> Floats:
    if polarity not in RULES:
        raise UsageError(f"polarity: {polarity!r}; expected one of {', '.join(RULES)}")
    if not np.isfinite(ppm) or ppm <= 0:
        raise UsageError(f"ppm: {ppm!r}; expected a number above 0")
    mz = np.asarray(mz, np.float64)
    bad = np.flatnonzero(~(np.isfinite(mz) & (mz > 0)))
    if len(bad):
        raise UsageError(f"mz: {mz[bad[0]]!s} at place {bad[0]}; expected a number above 0")
    return mz
