"""Figures of a study: scores of the multivariate models, ROC curves, box plots over folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.report.assay_figures import CLASS_STYLE, CROWD, shortened
from pipelines.report.classes import Classes
from pipelines.report.figures import Figure, Key, roc
from pipelines.report.study_grid import Variant, of
from pipelines.report.svg import BOTTOM, TOP, Frame, finite_span, line_swatch, mark_swatch
from pipelines.report.table import mean_sd, per_accession, rows_of

BOX_LEFT, BOX_ROW = 168.0, 21.0  # room for the models' names, and for one model, in user units
NAME_LENGTH = 25  # characters of a model's name on an axis (ours)
WHISKER = 1.5  # of the interquartile range (Tukey, 1977)
AXES = {
    "pca": ("PC 1", "PC 2"),
    "oplsda": ("predictive score", "first orthogonal score"),
}
METHODS = {"pca": "PCA scores", "oplsda": "OPLS-DA scores"}


def scores_figure(scores: pd.DataFrame, explained: Mapping[str, Any] | None, method: str, classes: Classes) -> Figure:
    """One mark a run in the plane of two scores.

    `scores`: rows of ``StudyRecord.scores`` of one representation and method; `explained`: the row of
    ``StudyRecord.multivariate`` that tells the share of variance of both axes.
    """
    crowded = len(scores) > CROWD
    shares = [math.nan] * 2 if explained is None else [float(explained[f"{axis}_explained"]) for axis in "xy"]
    x_label, y_label = (_axis(name, share) for name, share in zip(AXES[method], shares, strict=True))
    frame = Frame(
        x=finite_span(scores["x"].to_numpy(dtype=float)),
        y=finite_span(scores["y"].to_numpy(dtype=float)),
        x_label=x_label,
        y_label=y_label,
        alt=f"{METHODS[method]} of {len(scores)} runs",
    )
    for row in rows_of(scores.sort_values("sample_id", kind="stable")):
        css, shape = CLASS_STYLE[row["target"]]
        said = f"{row['sample_id']} ({row['accession']}): {classes.name(row['target'])}"
        frame.mark(row["x"], row["y"], f"{css} faint", f"small {shape}" if crowded else shape, said)
    present = [target for target in CLASS_STYLE if (scores["target"] == target).any()]
    keys = tuple(Key(mark_swatch(*CLASS_STYLE[target]), classes.name(target)) for target in present)
    return Figure(METHODS[method], frame.markup(), keys)


def _axis(name: str, share: float) -> str:
    return f"{name} ({100 * share:.1f} % of variance)" if math.isfinite(share) else name


def roc_figure(predictions: pd.DataFrame, scores: pd.DataFrame, cut: float, title: str) -> Figure:
    """ROC curves per accession of one variant, one a fold of each seed.

    `predictions`: its out-of-fold rows with their seed; `scores`: its `study_grid.of` rows.
    """
    numbers = {place: number for number, place in enumerate(zip(scores["seed"], scores["fold"], strict=True))}
    accessions = pd.concat(
        [
            table.assign(fold=[numbers[seed, fold] for fold in table["fold"]])
            for seed, rows in predictions.groupby("seed")
            for table in (per_accession(rows, cut),)
        ],
        ignore_index=True,
    )
    auc = pd.Series(scores["roc_auc"].to_numpy(dtype=float), index=range(len(scores)))
    return roc(accessions, auc, mean_sd(auc), title=title)


@dataclass(frozen=True)
class Box:
    """Tukey's box: quartiles, and the furthest values within 1.5 interquartile ranges of them."""

    low: float
    q1: float
    median: float
    q3: float
    high: float


def box(values: np.ndarray) -> Box:
    """Of finite values [n], n > 0; quartiles by linear interpolation."""
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    reach = WHISKER * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    return Box(float(inside.min()), q1, median, q3, float(inside.max()))


def boxes(scores: pd.DataFrame, task: str, shown: Sequence[Variant], metric: str, name: str) -> Figure:
    """Box plot of one metric over the folds of all seeds, a row a model, each fold a dot over it."""
    values = {variant: _finite(of(scores, task, variant.label)[metric]) for variant in shown}
    every = np.concatenate(list(values.values())) if values else np.zeros(0)
    places = {float(len(shown) - 1 - row): variant for row, variant in enumerate(shown)}
    low, _ = finite_span(every, pad=0.03)
    frame = Frame(
        x=(min(low, 0.98), 1.02),
        y=(-0.6, len(shown) - 0.4),
        x_label=name.lower() if name != "F1" else name,
        y_label="",
        alt=f"{name} of {len(shown)} models, box plots over folds",
        y_ticks=tuple(places),
        y_names={place: shortened(variant.label, NAME_LENGTH) for place, variant in places.items()},
        left=BOX_LEFT,
        height=TOP + BOTTOM + BOX_ROW * max(len(shown), 3),
    )
    for place, variant in places.items():
        if values[variant].size:
            _draw_box(frame, place, values[variant], variant)
    keys = (Key(line_swatch("median"), "median"), Key(mark_swatch("fold", "dot"), "one fold"))
    return Figure(name, frame.markup(), keys)


def _draw_box(frame: Frame, place: float, values: np.ndarray, variant: Variant) -> None:
    found = box(values)
    css = "active" if variant.is_cnn else "inactive"
    said = (
        f"{variant.label}: median {found.median:.3f}, quartiles {found.q1:.3f} and {found.q3:.3f}, "
        f"whiskers {found.low:.3f} to {found.high:.3f}, {len(values)} folds"
    )
    frame.region((found.q1, found.q3), (place - 0.3, place + 0.3), f"box {css}")
    for start, end in ((found.low, found.q1), (found.q3, found.high)):
        frame.line((start, end), (place, place), f"whisker {css}", said)
    for value in values:
        frame.mark(float(value), place, "fold", "dot", f"{variant.label}: {value:.3f}")
    frame.line((found.median,) * 2, (place - 0.3, place + 0.3), "median", said)


def permuted(row: Mapping[str, Any]) -> Figure | None:
    """Q2Y of the OPLS-DA against that under permuted labels, as a histogram; None where nothing was permuted."""
    values = np.asarray(row["q2y_permuted"] if row["q2y_permuted"] is not None else [], dtype=float)
    values = values[np.isfinite(values)]
    q2y = float(row["q2y"])
    if not values.size or not math.isfinite(q2y):
        return None
    counts, edges = np.histogram(values, bins="sturges")
    span = finite_span(np.append(edges, q2y))
    frame = Frame(
        x=span,
        y=(0.0, float(counts.max()) * 1.08),
        x_label="Q2Y",
        y_label="permutations",
        alt=f"Q2Y {q2y:.3f} against {values.size} permutations of the labels",
    )
    for number, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if number:
            said = f"{number} permutations from {left:.3f} to {right:.3f}"
            frame.bar((left + right) / 2, (0, number), right - left, "bar unused", said)
    frame.line((q2y, q2y), frame.y, "thick active", f"true labels: Q2Y {q2y:.3f}")
    keys = (Key(line_swatch("thick active"), "true labels"), Key(line_swatch(""), "permuted labels"))
    return Figure("Q2Y under permuted labels", frame.markup(), keys)


def _finite(values: pd.Series) -> np.ndarray:
    array = values.to_numpy(dtype=float)
    return array[np.isfinite(array)]
