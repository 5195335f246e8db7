"""What the page says in words. Every sentence is made from the record; none is a fixed claim about a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd

from ms2img.errors import UsageError
from pipelines.report.classes import Classes
from pipelines.report.table import Confusion, MeanSd, folds_cut_short

PAPER = "MS2toImg: A Framework for Direct Bioactivity Prediction from Raw LC-MS/MS Data"
#: What the training job puts into the record's summary besides what `ms2img.ms2toimg.summarise` writes.
ABOUT = {
    "simulated": "whether the runs came out of a simulation",
    "preset": "name of the network's preset",
    "samples": "path of the sample sheet",
    "images": "path of the image data set",
    "render": "the render config",
    "fit": "the training config",
    "config": "the resolved config of the job",
    "fingerprints": "of samples, labels and folds",
    "versions": "of ms2img and what it stands on",
    "created": "when, ISO 8601",
    "seconds": "how long the job took",
}
#: ... and may put: runs of the sheet that were not labelled, as kind -> number ("blank": 13).
NOT_LABELLED = "not_labelled"
RANKS_BETTER = 0.2  # ROC AUC above accuracy by so much: the decision threshold does not fit the scores (ours)
SMALL_FOLD = 10  # accessions in a test fold below which the page warns (ours)


def require_summary(summary: Mapping[str, Any]) -> None:
    """Raise `UsageError` naming the entries the page needs and the summary lacks."""
    needed = (*ABOUT, "label", "threshold", "refit_epochs", "without_image", "examples")
    missing = [name for name in needed if name not in summary]
    if missing:
        raise UsageError(f"record: its summary has no {', '.join(missing)}; was it written by this version of ms2img?")


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


def bins(render: Mapping[str, Any]) -> tuple[str, str]:
    """The image's size and what one pixel spans: ("150 × 140 pixels", "10 × 10 Da")."""
    height, width = int(render["height"]), int(render["width"])
    fragment = (render["fragment_mz"][1] - render["fragment_mz"][0]) / height
    precursor = (render["precursor_mz"][1] - render["precursor_mz"][0]) / width
    return f"{height} × {width} pixels", f"{fragment:.4g} × {precursor:.4g} Da"


def lede(
    cohort: Cohort, auc: MeanSd, *, assay: str, data_set: str, leaking: Sequence[str], searched: int | None = None
) -> str:
    """The page's first paragraph: the result, and how it was come by; `searched`: trials of a search."""
    unseen = "" if leaking else ", each by a network that had seen none of its runs"
    if searched is not None:
        unseen += f", chosen among {count(searched, 'trial')} by the fold’s training accessions"
    return (
        f"A convolutional network takes each run of {data_set} as one image of its MS/MS spectra and tells "
        f"high from low {assay}. {count(cohort.accessions, 'accession')} "
        f"({count(cohort.runs, 'run')}) were scored in {cohort.folds}-fold cross-validation{unseen}. "
        f"The area under the ROC curve per accession is {auc} (mean ± standard deviation over "
        "the folds; 0.5 is chance, 1 is perfect)."
    )


@dataclass(frozen=True)
class Note:
    """Something to know before believing the headline; `grave` where the headline is not to be believed."""

    text: str
    grave: bool = False


def notes(
    cohort: Cohort, leaking: Sequence[str], found: Mapping[str, MeanSd], history: pd.DataFrame, cut: float
) -> Iterator[Note]:
    """None for a sound record of a large study; `leaking` as by `table.straddling`, `found` per accession."""
    auc, accuracy = found["roc_auc"], found["accuracy"]
    if leaking:
        text = f"{count(len(leaking), 'accession')} had runs in more than one fold, so the metrics are too good: "
        yield Note(text + listed(leaking, 5), grave=True)
    if auc.n < cohort.folds:
        yield Note(
            f"{cohort.folds - auc.n} of {cohort.folds} folds held one class only, where a ROC AUC is undefined; "
            f"its mean is over the other {auc.n}."
        )
    if auc.mean - accuracy.mean > RANKS_BETTER:
        yield Note(
            f"The probabilities rank the accessions better than the threshold of {cut:g} divides them (accuracy "
            f"{accuracy}): see the confusion matrix before using the predicted classes."
        )
    cut_short = folds_cut_short(history)
    if cut_short:
        yield Note(
            f"In {cut_short} of {cohort.folds} folds the last epoch was the best: training may have ended too early, "
            "and more epochs may do better."
        )
    if cohort.smallest_fold < SMALL_FOLD:
        yield Note(
            f"A small study: a test fold holds {extent(cohort.smallest_fold, cohort.largest_fold)} accessions, "
            "so one accession moves a fold's metrics by a lot. Read the spread together with the mean."
        )


def about(summary: Mapping[str, Any], cohort: Cohort, leaking: Sequence[str]) -> Iterator[str]:
    """The line below the first paragraph: data set, network, image, split."""
    size, pixel = bins(summary["render"])
    yield f"data set {data_set_name(summary)}"
    yield f"preset {summary['preset']}"
    yield f"images of {size}, {pixel} a pixel"
    yield f"{count(cohort.folds, 'fold')}, {split_rule(leaking)}"


def inputs(
    summary: Mapping[str, Any], cohort: Cohort, classes: Classes, leaking: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Rows of the table of inputs: name, value."""
    label = summary["label"]
    size, pixel = bins(summary["render"])
    yield "Sample sheet", str(summary["samples"])
    yield "Images", f"{summary['images']}: {size}, one pixel is {pixel} (fragment × precursor m/z)"
    yield "Fingerprints", ", ".join(f"{name} {value}" for name, value in sorted(summary["fingerprints"].items()))
    yield "Assay", f"{label['assay']}, accession means from {label['value_min']:.4g} to {label['value_max']:.4g}"
    yield (
        "Classes",
        f"scaled 0-1 over that range, below {label['low']:g} is low (under {classes.low:.4g}) and above "
        f"{label['high']:g} is high (over {classes.high:.4g}); the probability is that of the {classes.active} class",
    )
    yield (
        "Trained on and tested",
        f"{count(cohort.accessions, 'accession')}, {count(cohort.runs, 'run')}: {cohort.active} {classes.active}, "
        f"{cohort.inactive} {classes.inactive}",
    )
    if cohort.unused_accessions:
        between = (
            f"{count(cohort.unused_accessions, 'accession')}, {count(cohort.unused_runs, 'run')} between the classes"
        )
        yield "Not trained on", f"{between}; scored by the refitted model, in no metric"
    if summary.get(NOT_LABELLED):
        yield "Not labelled", ", ".join(f"{number} {kind}" for kind, number in sorted(summary[NOT_LABELLED].items()))
    if summary["without_image"]:
        yield "Without an image", listed(summary["without_image"], 8)
    sizes = extent(cohort.smallest_fold, cohort.largest_fold)
    yield "Split", f"{count(cohort.folds, 'fold')} of {sizes} accessions, stratified by class; {split_rule(leaking)}"


def tiles(
    per_accession: Mapping[str, MeanSd],
    per_run: Mapping[str, MeanSd],
    counts: Confusion,
    cohort: Cohort,
    classes: Classes,
) -> Iterator[dict[str, str]]:
    """The key figures below the headline."""

    def tile(name: str, figure: MeanSd, note: str) -> dict[str, str]:
        return {"name": name, "value": figure.mean_text, "sd": figure.sd_text, "note": note}

    auc = per_accession["roc_auc"]
    yield tile("ROC AUC per accession", auc, f"mean ± sd of {count(auc.n, 'fold')}")
    yield tile("Accuracy per accession", per_accession["accuracy"], f"{counts.correct} of {counts.n} right")
    if cohort.runs > cohort.accessions:
        yield tile("ROC AUC per run", per_run["roc_auc"], "runs of an accession kept together")
    note = f"{cohort.active} {classes.active}, {cohort.inactive} {classes.inactive}; {count(cohort.runs, 'run')}"
    yield {"name": "Accessions", "value": str(cohort.accessions), "sd": "", "note": note}


def data_set_name(summary: Mapping[str, Any]) -> str:
    """What people call the data set: the file name of its sample sheet, or its folder's where that says nothing."""
    sheet = PurePath(summary["samples"])
    return sheet.parent.name if sheet.stem == "samples" and sheet.parent.name else sheet.name


def provenance(summary: Mapping[str, Any]) -> str:
    """When, how long and with what."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(summary["versions"].items()))
    return f"Trained {summary['created']} in {summary['seconds']:.0f} s with {versions}."


def split_rule(leaking: Sequence[str]) -> str:
    """Whether accessions were kept whole, as found in the predictions."""
    return "accessions straddle folds" if leaking else "accessions never straddle folds"


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as dotted names and texts, sorted: a record that was saved has lost its order."""
    for key, value in sorted(config.items()):
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{key}", "none" if value is None else str(value)


def count(n: int, noun: str) -> str:
    """ "1 run", "3 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def extent(low: int, high: int) -> str:
    """ "7", or "7 to 8"."""
    return str(low) if low == high else f"{low} to {high}"
