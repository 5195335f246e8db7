"""What the page says in words. Every sentence is made from the record, none is a fixed claim about a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.report.assay_figures import Classes
from pipelines.report.table import MeanSd, straddling

PAPER = "MS2toImg: A Framework for Direct Bioactivity Prediction from Raw LC-MS/MS Data"


@dataclass(frozen=True)
class Cohort:
    """How many accessions and runs there are; counted in the record's tables."""

    accessions: int
    runs: int
    active: int
    inactive: int
    unused_accessions: int
    unused_runs: int
    folds: int
    smallest_fold: int  # accessions in the smallest test fold
    largest_fold: int

    @classmethod
    def of(cls, accessions: pd.DataFrame, predictions: pd.DataFrame, unused: pd.DataFrame) -> Cohort:
        """Count; `accessions` is `table.per_accession` of the predictions."""
        sizes = accessions.groupby("fold").size()
        return cls(
            accessions=len(accessions),
            runs=len(predictions),
            active=int((accessions["target"] == 1).sum()),
            inactive=int((accessions["target"] == 0).sum()),
            unused_accessions=int(unused["accession"].nunique()),
            unused_runs=len(unused),
            folds=len(sizes),
            smallest_fold=int(sizes.min()),
            largest_fold=int(sizes.max()),
        )


def classes_of(label: Mapping[str, Any], values: pd.DataFrame) -> Classes:
    """The classes' names, and their thresholds brought from the 0-1 scale back to the assay's own.

    `label`: assay, low, high, active; `values`: columns value and scaled of all accessions.
    """
    low, high = float(label["low"]), float(label["high"])
    bottom, top = values.loc[values["scaled"].idxmin()], values.loc[values["scaled"].idxmax()]
    slope = (top["value"] - bottom["value"]) / (top["scaled"] - bottom["scaled"])
    origin = bottom["value"] - slope * bottom["scaled"]
    names = {"high": f"high {label['assay']}", "low": f"low {label['assay']}"}
    return Classes(
        active=names[label["active"]],
        inactive=names["low" if label["active"] == "high" else "high"],
        low_scaled=low,
        high_scaled=high,
        low=float(origin + slope * low),
        high=float(origin + slope * high),
    )


def bin_text(render: Mapping[str, Any]) -> str:
    """Image size and what one pixel spans: "150 × 140 pixels, one pixel 10 × 10 Da (fragment × precursor m/z)"."""
    height, width = int(render["height"]), int(render["width"])
    fragment = (render["fragment_mz"][1] - render["fragment_mz"][0]) / height
    precursor = (render["precursor_mz"][1] - render["precursor_mz"][0]) / width
    return f"{height} × {width} pixels, one pixel {fragment:.4g} × {precursor:.4g} Da (fragment × precursor m/z)"


def lede(cohort: Cohort, classes: Classes, auc: MeanSd, data_set: str) -> str:
    """The page's first paragraph: the result, and how it was come by."""
    return (
        f"A convolutional network looks at each run of {data_set} as an image of its MS/MS spectra and tells "
        f"{classes.active} from {classes.inactive}. {count(cohort.accessions, 'accession')} "
        f"({count(cohort.runs, 'run')}) went through {cohort.folds}-fold cross-validation; every accession was scored by "
        f"a network that had seen none of its runs. Per accession, the area under the ROC curve is {auc}, "
        "mean ± standard deviation over the folds; 0.5 is chance, 1 is perfect."
    )


def warnings(cohort: Cohort, predictions: pd.DataFrame, auc: MeanSd) -> list[str]:
    """What a reader must know before believing the headline; empty for a sound record."""
    found = []
    leaking = straddling(predictions)
    if leaking:
        shown = ", ".join(leaking[:5]) + (", …" if len(leaking) > 5 else "")
        found.append(
            f"{count(len(leaking), 'accession')} had runs in more than one fold ({shown}): "
            "the metrics below are too good, do not use them."
        )
    if auc.n < cohort.folds:
        missing = cohort.folds - auc.n
        found.append(
            f"{count(missing, 'fold')} of {cohort.folds} held one class only, so that the ROC AUC is undefined there; "
            f"its mean is over the other {auc.n}."
        )
    if cohort.smallest_fold < 10:
        found.append(
            f"A small study: a test fold holds {span(cohort.smallest_fold, cohort.largest_fold)} accessions, "
            "so that one accession moves a fold's figures by a lot. Read the spread with the mean."
        )
    return found
