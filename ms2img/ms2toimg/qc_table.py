"""The table of a quality control: its columns, and how runs and findings become its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from ms2img.io.dataset.image_counts import COUNTS
from ms2img.io.sheet import Run
from ms2img.ms2toimg.qc_findings import Finding

#: One row a run of the sheet, then runs with an image that the sheet does not know. Null: not judged, see docs/qc.md.
QC = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # "image" | "failed" | "missing" | "not-in-sheet"
        pa.field("kind", pa.string()),  # of the sheet: "sample" | "blank" | "qc"
        pa.field("accession", pa.string()),
        pa.field("batch", pa.string()),
        pa.field("injection_order", pa.float64()),  # of the sheet, else the row's number
        pa.field("n_flags", pa.int32(), nullable=False),
        pa.field("flags", pa.string(), nullable=False),  # codes of `Flag`, parted by ";"
        pa.field("reasons", pa.string(), nullable=False),  # the same as sentences, parted by "; "
        *(pa.field(name, pa.int32()) for name in COUNTS),  # as in the image table
        pa.field("without_msms_share", pa.float64()),  # of the spectra, 0-1
        pa.field("impossible_share", pa.float64()),  # of the points, 0-1: fragment above its precursor
        pa.field("outside_share", pa.float64()),  # of the points, 0-1: off the m/z axes
        pa.field("grey_total", pa.float64()),  # sum of the pixels, in dark pixels
        pa.field("z_spectra", pa.float64()),  # robust z of log(n_spectra) within the kind
        pa.field("z_fragments", pa.float64()),  # robust z of log(n_fragments) within the kind
        pa.field("replicate_similarity", pa.float64()),  # centred cosine to its replicates, mean
        pa.field("stranger_similarity", pa.float64()),  # centred cosine to samples of other accessions, mean
        pa.field("nearest_accession", pa.string()),  # other accession with replicates that it is most like
        pa.field("nearest_similarity", pa.float64()),  # centred cosine to that one's runs, mean
        pa.field("similarity_to_samples", pa.float64()),  # cosine to the mean sample, itself left out
        pa.field("similarity_to_qc", pa.float64()),  # cosine to the mean QC run, itself left out
        pa.field("preceding_run", pa.string()),  # blanks: the last run before it that is no blank
        pa.field("preceding_similarity", pa.float64()),  # blanks: cosine to that run
        pa.field("carry_over_seen", pa.float64()),  # blanks: share of that run's own pixels that it shows, 0-1
        pa.field("carry_over_background", pa.float64()),  # blanks: median of the same over other samples
        pa.field("pc1", pa.float64()),  # score on the first component of the samples
        pa.field("pc2", pa.float64()),
        pa.field("t2", pa.float64()),  # Hotelling's T2 within the components
        pa.field("q", pa.float64()),  # squared residual off the components
    ]
)


@dataclass(frozen=True)
class Placed:
    """A run of the sheet with its place in the injection order (NaN where unknown)."""

    run: Run
    order: float


def runs_frame(placed: Sequence[Placed]) -> pd.DataFrame:
    """The sheet's side of the table, index sample_id: kind, accession, batch, injection_order."""
    columns = {
        "kind": [each.run.kind for each in placed],
        "accession": [each.run.accession for each in placed],
        "batch": [each.run.batch for each in placed],
        "injection_order": np.array([each.order for each in placed], dtype=np.float64),
    }
    return pd.DataFrame(columns, index=pd.Index([each.run.sample_id for each in placed], name="sample_id"))


def run_table(
    placed: Sequence[Placed],
    judged: pd.DataFrame,
    counts: pd.DataFrame,
    errors: pd.DataFrame,
    findings: Sequence[Finding],
) -> pd.DataFrame:
    """Every run of the sheet in its order, then the unlisted ones by name; columns of `QC`."""
    listed = runs_frame(placed)
    extra = [name for name in judged if name not in listed]
    table = listed.join(judged[extra])
    table["status"] = [
        "image" if sample in counts.index else "failed" if sample in errors.index else "missing"
        for sample in table.index
    ]
    unlisted = counts.loc[sorted(set(counts.index) - set(table.index))].assign(status="not-in-sheet")
    if len(unlisted):
        table = pd.concat([table, unlisted[[*COUNTS, "status"]]])
    reasons: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.about == "run":
            reasons.setdefault(finding.subject, []).append(finding)
    own = [reasons.get(sample, []) for sample in table.index]
    table["n_flags"] = [len(each) for each in own]
    table["flags"] = [";".join(finding.code for finding in each) for each in own]
    table["reasons"] = ["; ".join(finding.text for finding in each) for each in own]
    return table.rename_axis("sample_id").reset_index().reindex(columns=QC.names)


def to_arrow(table: pd.DataFrame) -> pa.Table:
    """The table of an `Assessment` with the types of `QC`; what was not judged is null."""
    columns = []
    for field in QC:
        values = table[field.name].astype(object).where(table[field.name].notna(), None).tolist()
        if pa.types.is_integer(field.type):
            values = [None if value is None else int(value) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=QC)
