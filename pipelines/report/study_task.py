"""Everything the page shows of one task: Table 1 and Figures 3 to 5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ms2img.ms2toimg.summarise import THRESHOLD
from pipelines.report.assay_figures import by_sample
from pipelines.report.classes import Classes
from pipelines.report.facts import count
from pipelines.report.figures import Figure
from pipelines.report.study_curves import resolutions
from pipelines.report.study_figures import METHODS, boxes, permuted, roc_figure, scores_figure
from pipelines.report.study_grid import (
    AS_TRAINED,
    MODELS,
    PAPER_CNN,
    REPRESENTATIONS,
    Variant,
    labelled,
    of,
    ranking,
    variants,
    without_numbers,
)
from pipelines.report.study_words import p_value
from pipelines.report.table import MeanSd, mean_sd, per_accession, rows_of
from pipelines.study.record import StudyRecord

FEATURE_TABLES = ("cosine", "entropy", "aligned")  # MS2toImg, Figure 4, has the first two
BOX_METRICS = {"accuracy": "Accuracy", "recall": "Recall", "precision": "Precision", "f1": "F1"}  # Figure 5, A to D
COUNTS = ("tn", "fp", "fn", "tp")


@dataclass(frozen=True)
class Shown:
    """A panel: its picture, a line of numbers below it, or why there is none."""

    title: str
    figure: Figure | None
    said: str = ""


def task_context(record: StudyRecord, scores: pd.DataFrame, task: str) -> dict[str, Any]:
    """What the template shows of one task; `scores` as by `study_grid.fold_scores`."""
    cells = record.cells[record.cells["task"] == task]
    classes = classes_of(record, task)
    planned = variants(cells)
    ran = [variant for variant in planned if len(of(scores, task, variant.label))]
    cnn = curve_model(cells)
    return {
        "name": task,
        "about": record.summary["tasks"][task],
        "classes": classes,
        "curves": resolutions(record, task, cnn),
        "curve_model": MODELS.get(cnn, cnn),
        "prediction": _prediction(record, scores, task, planned, classes),
        "multivariate": list(_multivariate(record, scores, task, classes)),
        "boxes": [boxes(scores, task, ran, metric, name) for metric, name in BOX_METRICS.items()] if ran else [],
        "absent": [variant.label for variant in planned if variant not in ran],
    }


def classes_of(record: StudyRecord, task: str) -> Classes:
    """The classes of a task; thresholds in the assay's unit follow from its predictions, NaN where there are none."""
    about = record.summary["tasks"][task]
    cells = record.cells.loc[record.cells["task"] == task, "cell"]
    rows = record.predictions[record.predictions["cell"].isin(cells)].drop_duplicates("accession")
    low, high = float(about["low"]), float(about["high"])
    slope = bottom = math.nan
    if len(rows) and rows["scaled"].max() > rows["scaled"].min():
        scaled, value = (rows[name].to_numpy(dtype=float) for name in ("scaled", "value"))
        slope = float(np.ptp(value) / np.ptp(scaled))
        bottom = float(value.min() - scaled.min() * slope)
    return Classes(
        active=str(about["active"]),
        inactive="low" if about["active"] == "high" else "high",
        low_scaled=low,
        high_scaled=high,
        low=bottom + low * slope,
        high=bottom + high * slope,
        cut=THRESHOLD,
    )


def curve_model(cells: pd.DataFrame) -> str:
    """The CNN of Table 1: the paper's, or the first one of a grid without it."""
    cnns = [variant.model for variant in variants(cells) if variant.is_cnn]
    return PAPER_CNN if PAPER_CNN in cnns or not cnns else cnns[0]


def _prediction(
    record: StudyRecord, scores: pd.DataFrame, task: str, among: Sequence[Variant], classes: Classes
) -> dict[str, Any] | None:
    """Figure 3, of the CNN with the highest mean AUC (of the best model, where no CNN was run); None without any."""
    ran = ranking(scores, task, among)
    best = next((variant for variant in ran if variant.is_cnn), next(iter(ran), None))
    if best is None:
        return None
    rows, own = predictions_of(record, task, best.label), of(scores, task, best.label)
    first = rows["seed"].min()
    return {
        "variant": best,
        "seed": int(first),
        "seeds": int(own["seed"].nunique()),
        "folds": len(own),
        "by_sample": by_sample(per_accession(rows[rows["seed"] == first], classes.cut), classes),
        "roc": roc_figure(rows, own, classes.cut, "ROC curves"),
        "confusion": mean_confusion(own),
    }


def predictions_of(record: StudyRecord, task: str, label: str) -> pd.DataFrame:
    """Out-of-fold predictions of one variant as trained, with their seed."""
    cells = labelled(record.cells)
    own = cells.loc[(cells["task"] == task) & (cells["label"] == label), ["cell", "seed"]]
    rows = record.predictions[record.predictions["cell"].isin(own["cell"])]
    return rows[rows["condition"] == AS_TRAINED].merge(own, on="cell", how="inner")


def mean_confusion(scores: pd.DataFrame) -> dict[str, MeanSd]:
    """Each count of the confusion matrix, mean and sd over folds (the paper's Figure 3C)."""
    return {name: mean_sd(scores[name]) for name in COUNTS}


def _multivariate(
    record: StudyRecord, scores: pd.DataFrame, task: str, classes: Classes
) -> Iterator[tuple[str, list[Shown]]]:
    """Figure 4: of each feature table PCA scores, OPLS-DA scores with their numbers, the forest's ROC, permutations."""
    cells = labelled(record.cells[record.cells["task"] == task])
    for table in FEATURE_TABLES:
        planned = cells[cells["representation"] == table]
        if not len(planned):
            continue
        fits = record.multivariate
        fits = fits[(fits["task"] == task) & (fits["representation"] == table)]
        fit_of = {row["method"]: row for row in rows_of(fits)}
        panels = [_scores(record, task, table, method, planned, fit_of.get(method), classes) for method in METHODS]
        panels.append(_forest(record, scores, task, table, planned, classes))
        histogram = permuted(fit_of["oplsda"]) if "oplsda" in fit_of else None
        if histogram is not None:
            panels.append(Shown(histogram.title, histogram))
        yield REPRESENTATIONS[table].removeprefix("the ").capitalize(), panels


def _scores(
    record: StudyRecord,
    task: str,
    table: str,
    method: str,
    planned: pd.DataFrame,
    fit: Mapping[str, Any] | None,
    classes: Classes,
) -> Shown:
    rows = record.scores
    rows = rows[(rows["task"] == task) & (rows["representation"] == table) & (rows["method"] == method)]
    if not len(rows):
        return Shown(METHODS[method], None, without_numbers(planned[planned["model"] == method]))
    said = _fit_text(fit) if method == "oplsda" and fit is not None else ""
    return Shown(METHODS[method], scores_figure(rows, fit, method, classes), said)


def _forest(
    record: StudyRecord, scores: pd.DataFrame, task: str, table: str, planned: pd.DataFrame, classes: Classes
) -> Shown:
    label, title = Variant(table, "", "forest").label, "Random forest, ROC curves"
    own = of(scores, task, label)
    if not len(own):
        return Shown(title, None, without_numbers(planned[planned["label"] == label]))
    return Shown(title, roc_figure(predictions_of(record, task, label), own, classes.cut, title))


def _fit_text(fit: Mapping[str, Any]) -> str:
    """ "R2X 0.310, R2Y 0.976, Q2Y 0.287; p(R2Y) 0.010, p(Q2Y) 0.020 over 100 permutations; ..."."""
    said = ", ".join(f"{name} {_number(fit[key])}" for name, key in (("R2X", "r2x"), ("R2Y", "r2y"), ("Q2Y", "q2y")))
    if fit["permutations"] > 0:
        said += f"; p(R2Y) {p_value(fit['p_r2y'])}, p(Q2Y) {p_value(fit['p_q2y'])} over "
        said += count(int(fit["permutations"]), "permutation")
    if math.isfinite(fit["orthogonal"]):
        said += f"; 1 predictive and {count(int(fit['orthogonal']), 'orthogonal component')}"
    return said


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "undefined"
