"""What a run's name gives away: whether it is a blank or a QC, and which runs are replicates of one accession."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# Ours, all of it: laboratories name runs as they like, so a draft's `kind` and `accession` are for a person to check.
MAX_REPLICATES = 8  # a larger group is a numbered series ("plant_1" to "plant_60"), not replicates of one accession
MIN_GROUPED = 0.5  # share of the sample runs that must fall into groups for a guess to be made

_BLANK = re.compile(r"blank|(?:^|[^a-z])blk", re.IGNORECASE)
_QC = re.compile(r"(?:^|[^a-z])qc|qc(?![a-z])", re.IGNORECASE)
_TIMESTAMP = re.compile(r"[_\-. ]\d{8}(?:[_\-]?\d{4}|[_\-]?\d{6})?$")
_REPLICATE = re.compile(r"[_\-. ](?:(?:rep|inj|r)[_\-. ]?\d{1,6}|\d{1,6}(?:rep)?)$", re.IGNORECASE)


def guess_kind(name: str) -> str:
    """The kind a name spells out ("Blank_01", "x_blk2", "QCpool_4", "poolQC"), else "sample"."""
    if _BLANK.search(name):
        return "blank"
    return "qc" if _QC.search(name) else "sample"


def guess_accessions(names: Sequence[str], classes: Sequence[str | None]) -> tuple[str | None, ...]:
    """An accession for each sample run that has replicates among the others, None for the rest.

    A name without its acquisition time and its one or two trailing replicate tokens ("_2", "-3", "_rep1", "_1rep") is
    a candidate, a run's class a last one; the candidate that puts most runs into groups of 2 to `MAX_REPLICATES` wins,
    the first where two do equally. If it covers less than `MIN_GROUPED` of the runs, or puts all of them into one
    group, there is no guess.
    """
    candidates: list[list[str | None]] = [[_strip(name, tokens) for name in names] for tokens in (0, 1, 2)]
    candidates.append(list(classes))
    grouped = [_replicates_only(candidate) for candidate in candidates]
    best = max(grouped, key=lambda groups: sum(group is not None for group in groups))
    n_grouped = sum(group is not None for group in best)
    if n_grouped < MIN_GROUPED * len(names) or len(set(best) - {None}) < 2:
        return (None,) * len(names)
    return tuple(best)


def _strip(name: str, n_tokens: int) -> str:
    stem = _TIMESTAMP.sub("", name.rstrip("_-. "))
    for _ in range(n_tokens):
        stem = _REPLICATE.sub("", stem).rstrip("_-. ")
    return stem


def _replicates_only(groups: Sequence[str | None]) -> list[str | None]:
    size = Counter(groups)
    return [group if group is not None and 2 <= size[group] <= MAX_REPLICATES else None for group in groups]
