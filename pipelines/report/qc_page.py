"""The quality-control page: which runs to distrust and why, in one HTML file without script or request."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import ms2img
from ms2img.ms2toimg.qc import Assessment
from ms2img.ms2toimg.qc_findings import WITHOUT_RUN, Finding, Flag
from ms2img.ms2toimg.qc_limits import QcLimits
from pipelines.report import qc_figures
from pipelines.report.examples import negative_png
from pipelines.report.facts import bins, count
from pipelines.report.page import HERE
from pipelines.report.table import rows_of

MOST_PICTURES = 40  # runs shown with their picture (ours): a page stays under some megabytes
MOST_LISTED = 300  # runs named on the page; the tables beside it have all (ours)
MOST_ROWS = 1000  # rows of the folded table of all runs (ours)
MOST_BATCHES = 12  # batches with their own panels (ours)
MISPLACED = (Flag.SWAPPED, Flag.UNLIKE_REPLICATES, Flag.FULL_BLANK, Flag.CARRY_OVER)  # not what the sheet says
BY_CHANCE = (Flag.PCA_DISTANCE, Flag.PCA_RESIDUAL)  # the limits that name some sound samples by construction


@dataclass(frozen=True)
class QcPage:
    """What the page says besides the assessment: where from, how drawn, the limits, what could not be judged."""

    images: str
    samples: str
    render: Mapping[str, Any]
    limits: QcLimits
    gaps: tuple[str, ...]
    simulated: bool


def build_qc_page(found: Assessment, about: QcPage, images: Mapping[str, np.ndarray]) -> str:
    """The whole page as HTML text; `images`: sample_id -> uint8 [height, width]. Equal input gives equal text."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    sheets = ("style.css", "qc_style.css")
    style = Markup("\n".join((HERE / name).read_text(encoding="utf-8") for name in sheets))  # noqa: S704 - ours
    runs = found.table[found.table["status"] == "image"]
    suspects, peculiar = _listed(found, images)
    size, pixel = bins(about.render)
    return environment.get_template("qc_template.html").render(
        style=style,
        about=about,
        version=ms2img.__version__,
        name=_data_set_name(about.samples),
        size=size,
        pixel=pixel,
        tiles=list(_tiles(found, runs, len(suspects))),
        suspects=suspects,
        peculiar=peculiar,
        most=MOST_LISTED,
        groups=[each for each in found.findings if each.about != "run"],
        absent=[each for each in found.findings if each.code in WITHOUT_RUN],
        n_runs=len(runs),
        chance=_by_chance(found, about.limits),
        most_marks=qc_figures.MOST_MARKS,
        limits=[
            (name, getattr(about.limits, name), field.description) for name, field in QcLimits.model_fields.items()
        ],
        rows=rows_of(runs.head(MOST_ROWS)),
        **_figures(found, runs, about),
    )


def _figures(found: Assessment, runs: pd.DataFrame, about: QcPage) -> dict[str, Any]:
    batches = sorted({trend.batch for trend in found.trends})
    drifts = [(batch, qc_figures.drift(runs, found.trends, batch)) for batch in batches[:MOST_BATCHES]]
    pca = found.pca
    return {
        "fragments": qc_figures.fragments(runs),
        "replicates": qc_figures.replicates(runs),
        "blanks": qc_figures.blanks(runs, about.limits),
        "drifts": drifts,
        "more_batches": max(0, len(batches) - MOST_BATCHES),
        "pca": [qc_figures.scores(runs, pca, about.limits), qc_figures.distances(runs, pca, about.limits)]
        if pca
        else [],
        "components": len(pca.explained) if pca else 0,
        "explained": float(pca.explained.sum()) if pca else 0.0,
    }


def _listed(found: Assessment, images: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Runs with an image and a finding: those to distrust, most reasons first, and those that differ with all their
    replicates."""
    reasons: dict[str, list[Finding]] = {}
    for finding in found.findings:
        if finding.about == "run" and finding.code not in WITHOUT_RUN:
            reasons.setdefault(finding.subject, []).append(finding)
    rows = [
        {
            **row,
            "findings": reasons[row["sample_id"]],
            "own": sum(not each.shared for each in reasons[row["sample_id"]]),
        }
        for row in rows_of(found.table[found.table["sample_id"].isin(list(reasons))])
    ]
    suspects = sorted((row for row in rows if row["own"]), key=_weight)
    peculiar = [row for row in rows if not row["own"]]
    for row in [*suspects, *peculiar][:MOST_PICTURES]:
        data = base64.b64encode(negative_png(images[row["sample_id"]])).decode("ascii")
        row["picture"] = f"data:image/png;base64,{data}"
    return suspects, peculiar


def _weight(row: dict[str, Any]) -> tuple[int, int, str]:
    """First runs that are not what the sheet says, last those with but a component's limit against them."""
    own = [finding.code for finding in row["findings"] if not finding.shared]
    tier = 0 if set(own) & set(MISPLACED) else 2 if set(own) <= set(BY_CHANCE) else 1
    return tier, -len(own), str(row["sample_id"])


def _tiles(found: Assessment, runs: pd.DataFrame, n_suspects: int) -> Iterator[dict[str, Any]]:
    """The key figures below the headline; ``bad`` marks those that call for action."""

    def tile(name: str, value: str, note: str, *, bad: bool = False) -> dict[str, Any]:
        return {"name": name, "value": value, "note": note, "bad": bad}

    codes = [finding.code for finding in found.findings]
    yield tile("Runs to look at", str(n_suspects), f"of {len(runs)} with an image", bad=n_suspects > 0)
    absent = codes.count(Flag.FAILED) + codes.count(Flag.MISSING)
    yield tile(
        "Without an image", str(absent), f"{codes.count(Flag.NOT_IN_SHEET)} images not in the sheet", bad=absent > 0
    )
    replicated = runs.dropna(subset=["replicate_similarity", "stranger_similarity"])
    if len(replicated):
        own, strangers = (float(replicated[f"{name}_similarity"].median()) for name in ("replicate", "stranger"))
        pairs = codes.count(Flag.SWAPPED) // 2
        disagree = sum(code in (Flag.UNLIKE_REPLICATES, Flag.REPLICATES_DISAGREE) for code in codes)
        note = (
            f"strangers {strangers:.2f}; {count(pairs, 'pair')} look swapped" if pairs else f"strangers {strangers:.2f}"
        )
        yield tile("Replicates agree", f"{own:.2f}", note, bad=bool(pairs or disagree))
    judged = [trend for trend in found.trends if trend.judged]
    drifts = codes.count(Flag.DRIFT)
    qc = int((runs["kind"] == "qc").sum())
    yield tile(
        "Drift of QC runs",
        (f"{drifts}" if drifts else "none") if judged else "–",
        f"{count(qc, 'QC run')}: {count(len(judged), 'trend') if judged else 'not'} judged",
        bad=drifts > 0,
    )
    blanks = int((runs["kind"] == "blank").sum())
    suspect = {each.subject for each in found.findings if each.code in (Flag.FULL_BLANK, Flag.CARRY_OVER)}
    yield tile(
        "Blanks that are not blank",
        str(len(suspect)) if blanks else "–",
        f"of {blanks} blanks" if blanks else "no run of kind blank: not judged",
        bad=bool(suspect),
    )


def _by_chance(found: Assessment, limits: QcLimits) -> str:
    """How many sound samples a limit of this confidence names by chance."""
    if found.pca is None:
        return ""
    return f"{found.pca.n * (1 - limits.confidence):.1f} of {found.pca.n}"


def _data_set_name(samples: str) -> str:
    sheet = PurePath(samples)
    return sheet.parent.name if sheet.stem == "samples" and sheet.parent.name else sheet.name
