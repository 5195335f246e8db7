"""Quality control of an image data set: what a lab needs to know of a batch before it trusts it.

Runs + counts + images -> one table row a run, and a list of findings. Labels are never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ms2img.ms2toimg import qc_blanks, qc_counts, qc_drift, qc_replicates
from ms2img.ms2toimg.qc_findings import Finding, Flag, mark_shared
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_pca import Pca, fit_pca
from ms2img.ms2toimg.qc_profiles import grey_totals, profiles, unit
from ms2img.ms2toimg.qc_table import Placed, run_table, runs_frame


@dataclass(frozen=True, eq=False)
class Assessment:
    """What quality control found: `table` has the columns of `QC`, `findings` come in the order of `Flag`."""

    table: pd.DataFrame
    findings: tuple[Finding, ...]
    trends: tuple[qc_drift.Trend, ...]
    pca: Pca | None


def assess(
    placed: Sequence[Placed],
    counts: pd.DataFrame,
    images: np.ndarray,
    errors: pd.DataFrame,
    limits: QcLimits,
) -> Assessment:
    """Assess the runs of a sheet.

    `counts`: index sample_id, the count columns of the image table; `images`: uint8 [len(counts), height, width], in
    the order of `counts`; `errors`: index sample_id, columns of ``errors.parquet``.
    """
    row = {sample: number for number, sample in enumerate(counts.index)}
    known = [each for each in placed if each.run.sample_id in row]
    taken = np.array([row[each.run.sample_id] for each in known], dtype=np.int64)
    runs = runs_frame(known).join(counts)
    runs["grey_total"] = grey_totals(images)[taken] if len(taken) else np.zeros(0)
    rows = profiles(images)[taken]
    judged, findings, trends, pca = _judge(runs, rows, limits)
    findings += _absent(placed, row, errors)
    findings += [
        Finding(Flag.NOT_IN_SHEET, "run", sample, 0.0, 0.0, "has an image but no row in the sheet: not judged")
        for sample in sorted(set(row) - {each.run.sample_id for each in placed})
    ]
    rank = {flag: number for number, flag in enumerate(Flag)}
    ordered = tuple(sorted(findings, key=lambda each: rank[each.code]))
    table = run_table(placed, judged, counts, errors, ordered)
    return Assessment(table, ordered, tuple(trends), pca)


def _judge(
    runs: pd.DataFrame, rows: np.ndarray, limits: QcLimits
) -> tuple[pd.DataFrame, list[Finding], list[qc_drift.Trend], Pca | None]:
    """`runs` with every column that needs an image, and all that is found; `rows` are the profiles."""
    sample_ids, kinds = runs.index.to_numpy(), runs["kind"].to_numpy()
    batches, order = runs["batch"].fillna("").to_numpy(), runs["injection_order"].to_numpy(dtype=np.float64)
    samples = kinds == "sample"

    columns, findings = qc_counts.judge(runs, kinds, limits)
    judged = runs.join(columns)
    judged["similarity_to_samples"] = qc_drift.similarity_to_mean(rows, samples)
    judged["similarity_to_qc"] = qc_drift.similarity_to_mean(rows, kinds == "qc")

    values = {name: judged[name].to_numpy(dtype=np.float64) for name in qc_drift.METRICS}
    trends = qc_drift.trends(values, kinds, batches, order)
    findings += qc_drift.findings(trends, limits)
    findings += qc_drift.unlike_qc(sample_ids, kinds, values["similarity_to_qc"], limits)

    found = qc_blanks.carry_over(rows, kinds, batches, order)
    findings += qc_blanks.findings(sample_ids, kinds, runs["n_fragments"].to_numpy(), found, limits)
    judged = judged.join(_carry_over_columns(sample_ids, found))

    pca = fit_pca(rows, samples, limits)
    if pca is not None:
        judged["pc1"], judged["pc2"], judged["t2"], judged["q"] = *pca.scores[:, :2].T, pca.t2, pca.q
        findings += _pca_findings(runs, pca, limits)

    # Last, for it takes the mean off the profiles, in place: at ten thousand runs a copy is 200 MB.
    accessions = runs["accession"].to_numpy(dtype=object)[samples].astype(str)
    centred = rows[samples]
    del rows
    if len(centred):
        centred -= centred.mean(axis=0)
    agreement = qc_replicates.agreement(unit(centred), accessions)
    pairs = qc_replicates.swaps(centred, accessions, agreement, limits.swap_margin)
    findings += qc_replicates.findings(sample_ids[samples], accessions, agreement, pairs, limits)
    findings = mark_shared(findings, dict(zip(sample_ids[samples], accessions, strict=True)))
    return judged.join(_agreement_columns(sample_ids[samples], agreement)), findings, trends, pca


def _carry_over_columns(sample_ids: np.ndarray, found: qc_blanks.CarryOver) -> pd.DataFrame:
    before = [sample_ids[row] if row >= 0 else None for row in found.preceding]
    return pd.DataFrame(
        {
            "preceding_run": pd.Series(before, dtype=object).to_numpy(),
            "preceding_similarity": found.similarity,
            "carry_over_seen": found.seen,
            "carry_over_background": found.background,
        },
        index=sample_ids[found.blank],
    )


def _agreement_columns(sample_ids: np.ndarray, found: qc_replicates.Agreement) -> pd.DataFrame:
    nearest = [found.accessions[each] if each >= 0 else None for each in found.nearest]
    return pd.DataFrame(
        {
            "replicate_similarity": found.own,
            "stranger_similarity": found.strangers,
            "nearest_accession": pd.Series(nearest, dtype=object).to_numpy(),
            "nearest_similarity": found.nearest_similarity,
        },
        index=sample_ids,
    )


def _pca_findings(runs: pd.DataFrame, pca: Pca, limits: QcLimits) -> list[Finding]:
    out = []
    sample_ids, samples = runs.index.to_numpy(), (runs["kind"] == "sample").to_numpy()
    for flag, value, limit, words in (
        (Flag.PCA_DISTANCE, pca.t2, pca.t2_limit, "Hotelling's T2 within the components"),
        (Flag.PCA_RESIDUAL, pca.q, pca.q_limit, "residual Q off the components"),
    ):
        for row in np.flatnonzero(samples & (value > limit)):
            text = f"{words} is {value[row]:.3g}, its {limits.confidence:.0%} limit {limit:.3g}"
            out.append(Finding(flag, "run", str(sample_ids[row]), float(value[row]), limit, text))
    return out


def _absent(placed: Sequence[Placed], row: dict[str, int], errors: pd.DataFrame) -> list[Finding]:
    """Runs of the sheet without an image, by the reason that is known."""
    out = []
    for sample in (each.run.sample_id for each in placed if each.run.sample_id not in row):
        if sample in errors.index:
            error = errors.loc[sample]
            text = f"has no image: {error['message']} [{error['code']}]"
            out.append(Finding(Flag.FAILED, "run", sample, 0.0, 0.0, text))
        else:
            text = "has no image and no error: it was never converted; run 'ms2img convert' with this sheet"
            out.append(Finding(Flag.MISSING, "run", sample, 0.0, 0.0, text))
    return out
