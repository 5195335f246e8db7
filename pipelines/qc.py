"""``ms2img qc``: what a lab needs to know of a converted batch before it trusts it."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import yaml
from pydantic import Field

from ms2img.errors import UsageError
from ms2img.ms2toimg.qc_findings import WITHOUT_RUN, Finding
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.places import Reads, Writes
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.io.sheet import Sheet
    from ms2img.ms2toimg.qc import Assessment

TABLE_CSV, TABLE_PARQUET, FINDINGS, PAGE, CONFIG = "qc.csv", "qc.parquet", "findings.csv", "report.html", "config.yaml"
STEPS = 3  # loaded, assessed, written


class QcConfig(QcLimits):
    """Options of ``ms2img qc``."""

    images: Annotated[str, Reads()] = Field(description="output folder of 'ms2img convert'")
    samples: Annotated[str, Reads("sheet")] = Field(
        description="sample sheet (CSV, TSV or Parquet); kind, accession, batch and injection_order"
    )
    out: Annotated[str, Writes()] = Field(
        "qc", description="folder to write: qc.csv, qc.parquet, findings.csv, report.html, config.yaml"
    )
    allow_outside: bool = Field(False, description="let paths in the sheet climb above the sheet's folder by '..'")

    def limits(self) -> QcLimits:
        """The part of the options that decides who is named."""
        return QcLimits(**{name: getattr(self, name) for name in QcLimits.model_fields})


@dataclass(frozen=True)
class QcSummary:
    """What quality control found, in runs; `gaps` says in sentences what could not be judged.

    `flagged` runs have a finding of their own, `differing` ones only such as all replicates of their accession have.
    """

    runs: int
    images: int
    failed: int
    missing: int
    not_in_sheet: int
    flagged: int
    differing: int
    findings: tuple[Finding, ...]
    gaps: tuple[str, ...]
    output: str
    seconds: float

    def counts(self) -> dict[str, int]:
        """Findings by code."""
        return dict(Counter(str(finding.code) for finding in self.findings))


def qc(config: QcConfig, *, quiet: bool = False) -> QcSummary:
    """Assess the images of a sheet's runs and write tables and report page below ``config.out``.

    Raises `UsageError` before anything is written: a wrong sheet, no image data set, no image of any run in the sheet.
    """
    try:
        from pipelines.report.qc_page import QcPage, build_qc_page
    except ImportError as error:
        raise UsageError(f"the report page needs {error.name}: pip install 'ms2img[report]'") from None
    from ms2img.io.dataset.image_counts import load_counts, load_errors
    from ms2img.io.dataset.images import load_images
    from ms2img.io.sheet import Sheet
    from ms2img.ms2toimg.qc import assess
    from ms2img.ms2toimg.qc_scope import ORDER, not_judged

    started = time.monotonic()
    _require_writable(config.out)
    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    placed = place(sheet)
    counts, errors = load_counts(config.images), load_errors(config.images)
    if not {each.run.sample_id for each in placed} & set(counts.index):
        raise UsageError(
            f"{config.images}: has no image of any run in {config.samples}; was it converted from another sheet?"
        )
    with Steps(STEPS, "qc", quiet=quiet) as progress:
        image_set = load_images(config.images)
        progress.advance(note="images loaded")
        found = assess(placed, counts.loc[list(image_set.sample_ids)], image_set.images, errors, config.limits())
        progress.advance(note="assessed")
        gaps = tuple(not_judged(found, has_order=ORDER in sheet.table))
        about = QcPage(config.images, config.samples, image_set.render, config.limits(), gaps, sheet.is_simulated())
        page = build_qc_page(found, about, dict(zip(image_set.sample_ids, image_set.images, strict=True)))
        output = write(config, found, page)
        progress.advance()
    status = Counter(found.table["status"])
    of_runs = [each for each in found.findings if each.about == "run" and each.code not in WITHOUT_RUN]
    own = {each.subject for each in of_runs if not each.shared}
    return QcSummary(
        runs=len(placed),
        images=status["image"],
        failed=status["failed"],
        missing=status["missing"],
        not_in_sheet=status["not-in-sheet"],
        flagged=len(own),
        differing=len({each.subject for each in of_runs} - own),
        findings=found.findings,
        gaps=gaps,
        output=output,
        seconds=time.monotonic() - started,
    )


def place(sheet: Sheet) -> list[Any]:
    """The runs with their injection order: the sheet's column, else the row's number.

    Raises `UsageError` for an order that is no number.
    """
    from ms2img.ms2toimg.qc_scope import ORDER
    from ms2img.ms2toimg.qc_table import Placed

    order = sheet.assay(ORDER) if ORDER in sheet.table else np.arange(1, len(sheet.runs) + 1, dtype=np.float64)
    return [Placed(run, float(number)) for run, number in zip(sheet.runs, order, strict=True)]


def write(config: QcConfig, found: Assessment, page: str) -> str:
    """Write the tables, the page and the config; return the folder's location. Each file appears at once."""
    import pyarrow.parquet as pq

    from ms2img.io.storage import folder
    from ms2img.ms2toimg.qc_table import to_arrow

    out = folder(config.out)
    table = to_arrow(found.table)
    stream = io.BytesIO()
    pq.write_table(table, stream)
    out.write(TABLE_PARQUET, stream.getvalue())
    out.write(TABLE_CSV, found.table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
    out.write(FINDINGS, findings_frame(found.findings).to_csv(index=False, lineterminator="\n").encode())
    out.write(CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    out.write(PAGE, page.encode())
    return out.location


def _require_writable(out: str) -> None:
    """Refuse a file, and an image data set: its own config.yaml would be replaced."""
    from ms2img.io.dataset.manifest import MANIFEST_NAME
    from ms2img.io.storage import folder, is_remote

    if not is_remote(out) and Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out}: is a file; --out must be a folder")
    if folder(out).read(MANIFEST_NAME) is not None:
        raise UsageError(f"{out}: is an image data set; give --out a folder of its own")


def findings_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding: code, about (run, accession or batch), subject, value, limit, text, shared."""
    import pandas as pd

    return pd.DataFrame([asdict(each) for each in findings], columns=list(Finding.__dataclass_fields__))
