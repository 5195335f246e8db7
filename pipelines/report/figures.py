"""The figures of the report, as inline SVG that follows the reader's colour scheme.

Each function takes the record's tables and returns a `Figure`. Colours and line widths live in ``style.css``; hue is never
the only difference between two things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipelines.report.roc import GRID, mean_curve, roc_curve
from pipelines.report.svg import Frame, Span, finite_span, mark_markup, nice_ticks
from pipelines.report.table import THRESHOLD, MeanSd, per_accession

NAMED_SLOTS = 36  # samples up to which the axis of `by_sample` carries their names (ours)
NAME_LENGTH = 14  # characters of a name on an axis


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a swatch and what it stands for."""

    swatch: Markup
    text: str


@dataclass(frozen=True)
class Figure:
    """A picture with its title and legend; the caption is the template's."""

    title: str
    svg: Markup
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Classes:
    """The two classes in words, and the thresholds between them on the assay's own scale."""

    active: str
    inactive: str
    low: float
    high: float
    low_scaled: float
    high_scaled: float

    @property
    def names(self) -> dict[int, str]:
        """By target."""
        return {1: self.active, 0: self.inactive}


CLASS_STYLE = {1: ("active", "circle"), 0: ("inactive", "square"), -1: ("unused", "circle")}


def learning_curve(
    history: pd.DataFrame, columns: Sequence[tuple[str, str, str]], *, title: str, y_label: str, top: float | None = None
) -> Figure:
    """Per-fold curves over epochs, their mean ± sd band, and a diamond at each fold's best epoch.

    `columns`: (column of the history, CSS class, name); the diamonds lie on the last one. The mean runs as far as every
    fold does.
    """
    last = int(history["epoch"].max())
    values = history[[name for name, _, _ in columns]].to_numpy(dtype=float)
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    frame = Frame(
        x=(0.0, float(max(last, 2))),
        y=(0.0, top or highest * 1.05 or 1.0),
        x_label="epoch",
        y_label=y_label,
        alt=f"{title} over {last} epochs, one thin line a fold, the mean as a thick line",
    )
    for name, css, text in columns:
        by_epoch = history.pivot_table(index="epoch", columns="fold", values=name, dropna=False).sort_index()
        everywhere = by_epoch.dropna()
        mean, sd = everywhere.mean(axis=1), everywhere.std(axis=1).fillna(0.0)
        epochs = [float(epoch) for epoch in everywhere.index]
        if by_epoch.shape[1] > 1:
            frame.band(epochs, list(mean - sd), list(mean + sd), css)
        for fold in by_epoch:
            frame.line(by_epoch.index.astype(float), by_epoch[fold], f"thin {css}", f"{text}, fold {int(fold) + 1}")
        frame.line(epochs, mean, f"thick {css}", f"{text}, mean of the folds")
    name, css, text = columns[-1]
    best = history[history["is_best"]]
    for fold, epoch, value in zip(best["fold"], best["epoch"], best[name], strict=True):
        if math.isfinite(value):
            title_text = f"fold {int(fold) + 1}: best epoch {int(epoch)}, {text} {value:.3f}"
            frame.mark(float(epoch), float(value), f"best {css}", "diamond", title_text)
    keys = [Key(_line_swatch(css), f"{text} (mean ± sd)") for _, css, text in columns]
    keys.append(Key(_mark_swatch(f"best {css}", "diamond"), "a fold's best epoch"))
    return Figure(title, frame.markup(), tuple(keys))


def roc(predictions: pd.DataFrame, auc: pd.Series, mean: MeanSd, *, title: str, of: str) -> Figure:
    """One thin ROC curve a fold and their vertical average ± sd.

    `predictions`: rows with fold, target, probability (of accessions or of runs, as `of` says); `auc`: by fold, as reported.
    """
    frame = Frame(
        x=(0.0, 1.0),
        y=(0.0, 1.0),
        x_label="false-positive rate",
        y_label="true-positive rate",
        alt=f"{title}: area under the curve {mean} over {mean.n} folds; the diagonal is chance",
        square=True,
    )
    curves = []
    for fold, rows in predictions.groupby("fold"):
        curve = roc_curve(rows["target"].to_numpy(), rows["probability"].to_numpy(dtype=float))
        if curve is not None:
            curves.append((int(fold), curve))
    frame.line([0, 1], [0, 1], "chance", "chance: AUC 0.5")
    if curves:
        average = mean_curve([curve for _, curve in curves])
        low, high = np.clip(average.mean - average.sd, 0, 1), np.clip(average.mean + average.sd, 0, 1)
        frame.band(list(GRID), list(low), list(high), "active")
        for fold, (fpr, tpr) in curves:
            frame.line(fpr, tpr, "thin active", f"fold {fold + 1}: AUC {auc[fold]:.3f}")
        frame.line(GRID, average.mean, "thick active", f"mean of {len(curves)} folds")
    legend = (
        Key(_line_swatch("active"), f"mean ± sd, AUC {mean}"),
        Key(_line_swatch("thin active"), f"one fold ({of})"),
        Key(_line_swatch("chance"), "chance"),
    )
    return Figure(title, frame.markup(), legend)


def against_assay(accessions: pd.DataFrame, unused: pd.DataFrame, assay: str, classes: Classes) -> Figure:
    """Predicted probability against assay value, one mark an accession (the paper's Figure 3A as a scatter)."""
    span = finite_span(np.concatenate([accessions["value"], unused["value"]]).astype(float))
    frame = Frame(
        x=span,
        y=(-0.03, 1.03),
        x_label=_shortened(assay, 44),
        y_label=f"probability of {classes.active}"[:40],
        alt=f"Predicted probability against {assay} for {len(accessions)} labelled and {len(unused)} unused accessions",
        y_ticks=nice_ticks(0, 1),
    )
    _threshold_lines(frame, classes, span)
    frame.line(span, (THRESHOLD, THRESHOLD), "cut", f"decision threshold {THRESHOLD}")
    for css, shape, row in _styled(unused):
        frame.mark(row["value"], row["probability"], css, shape, _said(row))
    for css, shape, row in _styled(accessions):
        frame.mark(row["value"], row["probability"], css, shape, _said(row))
    for row in accessions[~accessions["correct"]].to_dict("records"):
        frame.mark(row["value"], row["probability"], "wrong", "ring")
    return Figure("Prediction against assay value", frame.markup(), _class_legend(accessions, unused, classes))


def by_sample(accessions: pd.DataFrame, unused: pd.DataFrame, classes: Classes) -> Figure:
    """The same, sample by sample in order of assay value: a bar from 0.5 to the prediction, a dot for the assay."""
    both = pd.concat([accessions, unused], ignore_index=True)
    both = both.sort_values(["value", "accession"], kind="stable", ignore_index=True)
    n = len(both)
    named = n <= NAMED_SLOTS
    frame = Frame(
        x=(-0.5, max(n, 1) - 0.5),
        y=(-0.03, 1.03),
        x_label="" if named else f"{n} accessions, by rising assay value",
        y_label="probability; assay scaled 0-1",
        alt=f"Prediction and scaled assay value of {n} accessions, by rising assay value",
        x_ticks=(),
        y_ticks=nice_ticks(0, 1),
        bottom=96.0 if named else 46.0,
    )
    width = 0.72 if n <= 150 else 1.0
    for slot, (css, _, row) in enumerate(_styled(both)):
        style = "bar wrong" if row.get("correct") is False else f"bar {css}"
        frame.bar(slot, (THRESHOLD, row["probability"]), width, style, _said(row))
    for level in sorted({classes.low_scaled, classes.high_scaled}):
        frame.line(frame.x, (level, level), "limit", f"threshold at {level:g} of the scaled assay value")
    if n > NAMED_SLOTS:
        frame.line(range(n), both["scaled"], "thin assay", "assay value, scaled 0-1")
    else:
        for slot, row in enumerate(both.to_dict("records")):
            frame.mark(slot, row["scaled"], "assay", "circle", _said(row))
    if named:
        _, _, _, bottom = frame.area
        for slot, accession in enumerate(both["accession"]):
            frame.name_slot(slot, bottom + 8, _shortened(str(accession), NAME_LENGTH))
    legend = (
        Key(_bar_swatch("bar active"), "prediction, right side of 0.5"),
        Key(_bar_swatch("bar wrong"), "wrong side"),
        Key(_mark_swatch("assay") if named else _line_swatch("thin assay"), "assay value"),
    )
    return Figure("Sample by sample", frame.markup(), legend)
