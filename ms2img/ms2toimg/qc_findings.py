"""What quality control may say of a run: a closed list of codes, each with its place, number and sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Flag(StrEnum):
    """The closed list of reasons, gravest first: column ``flags`` of ``qc.parquet``, ``code`` of ``findings.csv``."""

    FAILED = "failed"  # no image: its conversion failed (errors.parquet has the reason)
    MISSING = "missing"  # no image, and no error either: it was never converted
    NOT_IN_SHEET = "not-in-sheet"  # an image that the sheet does not know
    SWAPPED = "swapped"  # two runs that each look like the other's accession
    UNLIKE_REPLICATES = "unlike-replicates"  # less like its replicates than like strangers
    REPLICATES_DISAGREE = "replicates-disagree"  # an accession whose replicates agree less than strangers do
    FULL_BLANK = "full-blank"  # a blank with as many fragments as samples
    CARRY_OVER = "carry-over"  # a blank that shows the run before it
    DRIFT = "drift"  # QC runs change over injection order
    UNLIKE_QC = "unlike-qc"  # a QC run unlike the other QC runs
    FEW_SPECTRA = "few-spectra"  # against its kind
    MANY_SPECTRA = "many-spectra"
    FEW_FRAGMENTS = "few-fragments"
    MANY_FRAGMENTS = "many-fragments"
    DROPPED = "dropped"  # more points dropped (no MS/MS, impossible, off the axes) than its kind usually has
    PCA_DISTANCE = "pca-distance"  # beyond Hotelling's T2 limit
    PCA_RESIDUAL = "pca-residual"  # beyond the limit of the residual Q


@dataclass(frozen=True)
class Finding:
    """One thing to look at: `subject` is a sample_id, an accession or a batch, as `about` says.

    ``shared``: all replicates of the run's accession have a finding of the same kind, so that it is the sample that
    differs from the others rather than the injection that failed.
    """

    code: Flag
    about: str  # "run" | "accession" | "batch"
    subject: str
    value: float
    limit: float
    text: str
    shared: bool = False


#: Findings of a run without an image to look at, or without a row in the sheet.
WITHOUT_RUN = frozenset({Flag.FAILED, Flag.MISSING, Flag.NOT_IN_SHEET})

#: Findings that a sample may bring with it: these are compared among replicates.
_OF_SAMPLES = (
    frozenset({Flag.FEW_SPECTRA, Flag.FEW_FRAGMENTS}),
    frozenset({Flag.MANY_SPECTRA, Flag.MANY_FRAGMENTS}),
    frozenset({Flag.DROPPED}),
    frozenset({Flag.PCA_DISTANCE, Flag.PCA_RESIDUAL}),
)


def mark_shared(findings: Iterable[Finding], accessions: Mapping[str, str]) -> list[Finding]:
    """The findings with ``shared`` set; `accessions`: sample_id -> accession of the sample runs."""
    listed = list(findings)
    members: dict[str, set[str]] = {}
    for sample, accession in accessions.items():
        members.setdefault(accession, set()).add(sample)
    for family in _OF_SAMPLES:
        named = {each.subject for each in listed if each.code in family}
        whole = set().union(*(runs for runs in members.values() if len(runs) > 1 and runs <= named))
        listed = [
            replace(each, shared=True) if each.code in family and each.subject in whole else each for each in listed
        ]
    return listed
