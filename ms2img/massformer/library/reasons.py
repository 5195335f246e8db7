"""Why a record is left out: a closed list. A record is counted under the first reason that holds, in this order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import pyarrow as pa

from ms2img.massformer.library.tables import REFUSED
from ms2img.massformer.molecule.structure import REFUSALS

MAX_EXAMPLE = 160  # characters of an example (ours)


class Reason(StrEnum):
    """What is wrong with a record, or what the filters leave out."""

    MALFORMED = "malformed"  # not a record of its format, or a number that is none
    DEPRECATED = "deprecated"  # withdrawn by its library: wrong annotation, noise
    MS_LEVEL = "ms-level"  # not MS/MS
    NOT_FT = "not-ft"  # not measured by a Fourier-transform instrument
    NO_CELL = "no-cell"  # neither HCD nor CID is stated or follows from the instrument
    OTHER_CELL = "other-cell"  # another collision cell than asked for
    NO_ADDUCT = "no-adduct"  # not stated, or not to be understood
    OTHER_ADDUCT = "other-adduct"  # another adduct than asked for
    POLARITY = "polarity"  # the ion mode contradicts the adduct
    NO_ENERGY = "no-energy"  # no collision energy is stated
    UNREADABLE_ENERGY = "unreadable-energy"  # a formula, a unit we do not know
    ONE_OF_ENERGIES = "one-of-energies"  # several are listed, and which of them it was is not said
    NO_PEAKS = "no-peaks"  # not one peak above 0
    PRECURSOR = "precursor"  # precursor m/z is not that of the structure with its adduct
    ABOVE_MZ_MAX = "above-mz-max"  # precursor m/z beyond the spectrum that models predict
    DUPLICATE = "duplicate"  # structure, conditions and peaks of a record that is kept
    REPEATED_ID = "repeated-id"  # another record has this id, with other content


#: Structures are refused by `ms2img.massformer.molecule.structure`; its reasons come under this prefix.
STRUCTURE_PREFIX = "molecule-"
_ALL = tuple(reason.value for reason in Reason)
_BEFORE = _ALL.index(Reason.NO_PEAKS.value)
#: The closed list: structures are looked at when all else but the peaks and the precursor's mass is sound.
REASONS: tuple[str, ...] = (
    *_ALL[:_BEFORE],
    *(f"{STRUCTURE_PREFIX}{code}" for code in REFUSALS),
    *_ALL[_BEFORE:],
)


class Rejected(Exception):  # noqa: N818 (an outcome, counted, not a defect)
    """One record that is left out: `reason` of `REASONS`, `found` what it says, one line."""

    def __init__(self, reason: str, found: str = "") -> None:
        super().__init__(reason, found)
        self.reason = str(reason)
        self.found = found


@dataclass
class Refusals:
    """Counts by reason, each with its alphabetically first example, so that the order of work does not matter."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count records under a reason of `REASONS`; `example` is one of them."""
        reason = str(reason)
        shown = "".join(c if c.isprintable() else "\ufffd" for c in example[:MAX_EXAMPLE])
        self.counts[reason] = self.counts.get(reason, 0) + count
        self.examples[reason] = min(shown, self.examples.get(reason, shown))

    @classmethod
    def merged(cls, several: Iterable[Self]) -> Self:
        """The sum of several counts."""
        total = cls()
        for each in several:
            for reason, count in each.counts.items():
                total.add(reason, each.examples[reason], count)
        return total

    def table(self) -> pa.Table:
        """Schema `REFUSED`, in the order of `REASONS`."""
        rows = [
            {"reason": reason, "count": self.counts[reason], "example": self.examples[reason]}
            for reason in REASONS
            if reason in self.counts
        ]
        return pa.Table.from_pylist(rows, schema=REFUSED)

    def as_dict(self) -> Mapping[str, int]:
        """Counts in the order of `REASONS`."""
        return {reason: self.counts[reason] for reason in REASONS if reason in self.counts}
