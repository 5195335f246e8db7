"""Runs whose counts (spectra, fragments, dropped points) are outliers within their kind."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ms2img.ms2toimg.qc_findings import Finding, Flag
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_stats import robust_z

LEAST_RUNS = 4  # of a kind, below which a median and its MAD say nothing (ours)
LEAST_SHARE_SD = 0.01  # sd that shares of dropped points are granted at least: one point in a hundred (ours)
LEAST_SHARE = 0.05  # difference from the median below which a share of dropped points is nobody's concern (ours)

_FLAGS = {"n_spectra": (Flag.FEW_SPECTRA, Flag.MANY_SPECTRA), "n_fragments": (Flag.FEW_FRAGMENTS, Flag.MANY_FRAGMENTS)}
_WORDS = {"n_spectra": "MS/MS spectra", "n_fragments": "fragments"}
_DROPPED = {
    "without_msms_share": "of its spectra have no MS/MS peak",
    "impossible_share": "of its points lie above their precursor",
    "outside_share": "of its points lie outside the image's m/z axes",
}


def shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Shares 0-1 of what was dropped, by reason: `counts` has the count columns of the image table."""
    points = (counts["n_fragments"] + counts["n_impossible"] + counts["n_outside"]).clip(lower=1)
    return pd.DataFrame(
        {
            "without_msms_share": counts["n_without_msms"] / counts["n_spectra"].clip(lower=1),
            "impossible_share": counts["n_impossible"] / points,
            "outside_share": counts["n_outside"] / points,
        }
    )


def z_within_kind(values: np.ndarray, kinds: np.ndarray, *, least_sd: float = 0.0) -> np.ndarray:
    """Robust z of each value among those of its kind; NaN where the kind has fewer than `LEAST_RUNS` runs."""
    out = np.full(len(values), np.nan)
    for kind in np.unique(kinds):
        members = kinds == kind
        if members.sum() >= LEAST_RUNS:
            out[members] = robust_z(values[members], least_sd=least_sd)
    return out


def judge(counts: pd.DataFrame, kinds: np.ndarray, limits: QcLimits) -> tuple[pd.DataFrame, list[Finding]]:
    """Columns ``z_spectra``, ``z_fragments`` and the shares of `shares`, and the outliers.

    Counts are compared as logarithms: a run with a tenth of the fragments is as far off as one with ten times as many.
    """
    sample_ids = counts.index.to_numpy()
    dropped = shares(counts)
    columns = {name: dropped[name].to_numpy() for name in dropped}
    out: list[Finding] = []
    for name, column in (("n_spectra", "z_spectra"), ("n_fragments", "z_fragments")):
        values = counts[name].to_numpy(dtype=np.float64)
        columns[column] = z_within_kind(np.log(np.maximum(values, 1)), kinds)
        out += _count_findings(name, values, columns[column], sample_ids, kinds, limits)
    for name, words in _DROPPED.items():
        z = z_within_kind(columns[name], kinds, least_sd=LEAST_SHARE_SD)
        for row in np.flatnonzero(z > limits.robust_z):
            median = float(np.median(columns[name][kinds == kinds[row]]))
            if columns[name][row] - median >= LEAST_SHARE:
                text = f"{columns[name][row]:.0%} {words}; the median of kind {kinds[row]} is {median:.0%}"
                out.append(Finding(Flag.DROPPED, "run", str(sample_ids[row]), float(z[row]), limits.robust_z, text))
    return pd.DataFrame(columns, index=counts.index), out


def _count_findings(
    name: str, values: np.ndarray, z: np.ndarray, sample_ids: np.ndarray, kinds: np.ndarray, limits: QcLimits
) -> list[Finding]:
    out = []
    for row in np.flatnonzero(np.abs(z) > limits.robust_z):
        median = float(np.median(values[kinds == kinds[row]]))
        if abs(values[row] - median) < limits.min_change * median:
            continue
        few, many = _FLAGS[name]
        text = f"{values[row]:,.0f} {_WORDS[name]}; the median of kind {kinds[row]} is {median:,.0f}"
        flag = few if values[row] < median else many
        out.append(Finding(flag, "run", str(sample_ids[row]), float(z[row]), limits.robust_z, text))
    return out
