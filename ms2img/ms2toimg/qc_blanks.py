"""Blanks: are they empty, and do they show the run before them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2img.ms2toimg.qc_findings import Finding, Flag
from ms2img.ms2toimg.qc_limits import QcLimits

LEAST_REFERENCES = 5  # samples from which one can tell what is common (ours)
MOST_REFERENCES = 500  # samples that a blank is compared with, evenly chosen: a median of more does not move (ours)
COMMON = 0.25  # share of the samples from which a pixel they show is nobody's in particular (ours)
LEAST_PIXELS = 5  # of a run's own, below which no share of them is told (ours)


@dataclass(frozen=True)
class CarryOver:
    """What each blank shows of the run injected before it, as arrays over the blanks.

    ``blank`` and ``preceding`` are row numbers, ``preceding`` -1 for a blank before any other run. A run's own pixels
    are those that at most `COMMON` of the samples have: what all samples hold may come from anywhere. ``seen`` is the
    share of the preceding run's own pixels that the blank has too, ``background`` the median of the same over all
    other samples, ``similarity`` the cosine of both whole images. NaN: not judged.
    """

    blank: np.ndarray
    preceding: np.ndarray
    seen: np.ndarray
    background: np.ndarray
    similarity: np.ndarray


def preceding_runs(kinds: np.ndarray, batches: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each run the row of the last run before it, in its batch, that is no blank; -1 where there is none.

    `order`: injection order float64 [n]; a run whose order is NaN precedes nothing and follows nothing.
    """
    out = np.full(len(kinds), -1)
    last: dict[str, int] = {}
    for row in np.argsort(order, kind="stable"):
        if not np.isfinite(order[row]):
            continue
        out[row] = last.get(batches[row], -1)
        if kinds[row] != "blank":
            last[batches[row]] = row
    return out


def carry_over(rows: np.ndarray, kinds: np.ndarray, batches: np.ndarray, order: np.ndarray) -> CarryOver:
    """`rows`: profiles float32 [n, pixels] of length 1; a pixel is seen where it is not 0."""
    blanks = np.flatnonzero(kinds == "blank")
    preceding = preceding_runs(kinds, batches, order)[blanks]
    seen, background, similarity = (np.full(len(blanks), np.nan) for _ in range(3))
    samples = np.flatnonzero(kinds == "sample")
    if len(samples) < LEAST_REFERENCES:
        return CarryOver(blanks, preceding, seen, background, similarity)
    rare = np.count_nonzero(rows[samples], axis=0) <= COMMON * len(samples)
    chosen = np.linspace(0, len(samples) - 1, min(len(samples), MOST_REFERENCES)).astype(int)
    references = samples[chosen]
    own = (rows[references] > 0) & rare  # [references, pixels]
    sizes = own.sum(axis=1)
    for place, (blank, before) in enumerate(zip(blanks, preceding, strict=True)):
        if before < 0:
            continue
        similarity[place] = float(rows[before] @ rows[blank])
        pixels = (rows[before] > 0) & rare
        others = (references != before) & (sizes >= LEAST_PIXELS)
        if pixels.sum() < LEAST_PIXELS or not others.any():
            continue
        shown = rows[blank] > 0
        seen[place] = np.count_nonzero(pixels & shown) / pixels.sum()
        shares = np.count_nonzero(own[others][:, np.flatnonzero(shown)], axis=1) / sizes[others]
        background[place] = np.median(shares)
    return CarryOver(blanks, preceding, seen, background, similarity)


def findings(
    sample_ids: np.ndarray, kinds: np.ndarray, fragments: np.ndarray, found: CarryOver, limits: QcLimits
) -> list[Finding]:
    """Blanks that are full, and blanks that show more of the preceding run than of any other."""
    out = []
    of_samples = fragments[kinds == "sample"]
    median = float(np.median(of_samples)) if of_samples.size else 0.0
    for place, blank in enumerate(found.blank):
        name = str(sample_ids[blank])
        if median and fragments[blank] >= limits.blank_share * median:
            share = float(fragments[blank] / median)
            text = f"a blank with {fragments[blank]:,} fragments, {share:.0%} of the samples' median ({median:,.0f})"
            out.append(Finding(Flag.FULL_BLANK, "run", name, share, limits.blank_share, text))
            continue  # as full as a sample it shows anything, not one run in particular
        excess = float(found.seen[place] - found.background[place])
        if excess >= limits.carry_over:
            text = (
                f"shows {found.seen[place]:.0%} of what {sample_ids[found.preceding[place]]}, injected before it, has "
                f"for itself, but {found.background[place]:.0%} of what other samples have: carry-over?"
            )
            out.append(Finding(Flag.CARRY_OVER, "run", name, excess, limits.carry_over, text))
    return out
