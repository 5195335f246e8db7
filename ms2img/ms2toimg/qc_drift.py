"""Does the instrument drift? QC runs are the same sample again and again: what changes in them is the instrument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ms2img.ms2toimg.qc_counts import LEAST_RUNS
from ms2img.ms2toimg.qc_findings import Finding, Flag
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_stats import robust_z, spearman, theil_sen

LEAST_RUNS_OF_TREND = 5  # with 4 runs no order of theirs is rarer than p = 1/12, so none could be called a drift
MOST_RUNS_OF_TREND = 2000  # evenly chosen beyond: the median of 2 million slopes does not move (ours)
LEAST_SIMILARITY = 0.1  # cosine by which a QC run must fall behind the others to be named, besides the z (ours)

METRICS = {
    "n_fragments": "fragments",
    "grey_total": "grey of the image",
    "similarity_to_qc": "similarity to the mean QC image",
}


@dataclass(frozen=True)
class Trend:
    """One quantity over injection order in one batch (empty: all runs are one batch).

    ``slope`` a step of the order and ``intercept`` are Theil and Sen's, ``change`` is that of the line from the first
    to the last run as a share of the median, ``rho`` and ``p`` are Spearman's. ``judged``: of enough QC runs; samples
    change with the order in which somebody lined them up, too.
    """

    batch: str
    kind: str  # "qc", or "sample" where QC runs are absent or too few: shown, never judged
    metric: str  # of METRICS
    n: int
    slope: float
    intercept: float
    change: float
    rho: float
    p: float
    judged: bool


def similarity_to_mean(rows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Cosine of each profile to the mean profile of the `members` (bool [n]), itself left out: float64 [n].

    NaN where there is no other member.
    """
    total = rows[members].sum(axis=0, dtype=np.float64)
    square = float(total @ total)
    dot = (rows @ total.astype(np.float32)).astype(np.float64)
    own = np.where(members, np.einsum("ij,ij->i", rows, rows), 0.0)
    # |total - row|^2 = |total|^2 - 2 total.row + |row|^2, and row.(total - row) = row.total - |row|^2
    length = np.sqrt(np.maximum(np.where(members, square - 2 * dot + own, square), 0))
    others = int(members.sum()) - members
    return np.where((others > 0) & (length > 0), (dot - own) / np.where(length > 0, length, 1), np.nan)


def trends(values: Mapping[str, np.ndarray], kinds: np.ndarray, batches: np.ndarray, order: np.ndarray) -> list[Trend]:
    """The trend of every metric in every batch: over QC runs, and over samples where QC runs are too few to judge."""
    out = []
    placed = np.isfinite(order)
    for batch in sorted(set(batches[placed])):
        here = placed & (batches == batch)
        n_qc = int((here & (kinds == "qc")).sum())
        for kind in ("qc",) if n_qc >= LEAST_RUNS_OF_TREND else ("qc", "sample"):
            for metric in METRICS:
                if metric == "similarity_to_qc" and kind == "sample":
                    continue
                rows = here & (kinds == kind) & np.isfinite(values[metric])
                if rows.sum() >= 2:
                    out.append(_trend(str(batch), kind, metric, order[rows], values[metric][rows]))
    return out


def _trend(batch: str, kind: str, metric: str, x: np.ndarray, y: np.ndarray) -> Trend:
    first = np.argsort(x, kind="stable")
    if len(x) > MOST_RUNS_OF_TREND:
        first = first[np.linspace(0, len(x) - 1, MOST_RUNS_OF_TREND).astype(int)]
    x, y = x[first], y[first]
    slope, intercept = theil_sen(x, y)
    rho, p = spearman(x, y)
    median = float(np.median(y))
    change = slope * float(x[-1] - x[0]) / abs(median) if median else float("nan")
    judged = kind == "qc" and len(x) >= LEAST_RUNS_OF_TREND
    return Trend(batch, kind, metric, len(x), slope, intercept, change, rho, p, judged)


def findings(found: list[Trend], limits: QcLimits) -> list[Finding]:
    """The trends that are both improbable by chance and large."""
    out = []
    for trend in found:
        if not trend.judged or not (trend.p <= limits.drift_p and abs(trend.change) >= limits.drift_change):
            continue
        text = (
            f"{METRICS[trend.metric]} of {trend.n} QC runs "
            f"{'rises' if trend.change > 0 else 'falls'} by {abs(trend.change):.0%} over the injection order "
            f"(Spearman {trend.rho:+.2f}, p {trend.p:.2g})"
        )
        out.append(Finding(Flag.DRIFT, "batch", trend.batch, trend.change, limits.drift_change, text))
    return out


def unlike_qc(sample_ids: np.ndarray, kinds: np.ndarray, similarity: np.ndarray, limits: QcLimits) -> list[Finding]:
    """QC runs that are less like the mean of the others than these are."""
    rows = np.flatnonzero((kinds == "qc") & np.isfinite(similarity))
    if len(rows) < LEAST_RUNS:
        return []
    out = []
    median = float(np.median(similarity[rows]))
    for row, z in zip(rows, robust_z(similarity[rows]), strict=True):
        if z < -limits.robust_z and median - similarity[row] >= LEAST_SIMILARITY:
            text = f"similarity to the other QC runs is {similarity[row]:.2f}; their median is {median:.2f}"
            out.append(Finding(Flag.UNLIKE_QC, "run", str(sample_ids[row]), float(z), -limits.robust_z, text))
    return out
