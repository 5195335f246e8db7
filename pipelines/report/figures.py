"""Learning curves and ROC curves, as inline SVG that follows the reader's colour scheme.

Each function takes tables of the record and returns a `Figure`. Colours and line widths live in ``style.css``; hue is
never the only difference between two things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from ms2img.learn.metrics import roc_curve
from pipelines.report.roc import GRID, mean_curve
from pipelines.report.svg import Frame, line_swatch, mark_swatch
from pipelines.report.table import MeanSd, fold_name, rows_of


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
class Curve:
    """A column of the history, its CSS class and its name."""

    column: str
    css: str
    name: str


def learning_curves(history: pd.DataFrame, curves: Sequence[Curve], *, title: str, top: float | None = None) -> Figure:
    """Per-fold curves over epochs, their mean ± sd, and a diamond at each fold's best epoch on the last of `curves`.

    The mean runs as far as every fold does. `top` fixes the upper end of the axis.
    """
    last = int(history["epoch"].max())
    values = history[[curve.column for curve in curves]].to_numpy(dtype=float)
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    frame = Frame(
        x=(0.0, float(max(last, 2))),
        y=(0.0, top or highest * 1.05 or 1.0),
        x_label="epoch",
        y_label=title.lower(),
        alt=f"{title} over {last} epochs: {' and '.join(curve.name for curve in curves)}, each fold and their mean",
    )
    for curve in curves:
        _folds_and_mean(frame, history, curve)
    marked = curves[-1]
    for row in rows_of(history[history["is_best"]]):
        epoch, value = int(row["epoch"]), float(row[marked.column])
        if math.isfinite(value):
            said = f"{fold_name(row['fold'])}: epoch {epoch} kept, {marked.name} {value:.3f}"
            frame.mark(epoch, value, f"best {marked.css}", "diamond", said)
    keys = [Key(line_swatch(f"thick {curve.css}"), f"{curve.name}, mean ± sd") for curve in curves]
    return Figure(
        title, frame.markup(), (*keys, Key(mark_swatch(f"best {marked.css}", "diamond"), "epoch kept of a fold"))
    )


def roc(predictions: pd.DataFrame, auc: pd.Series, mean: MeanSd, *, title: str) -> Figure:
    """One thin ROC curve a fold and their vertical average ± sd.

    `predictions`: rows with fold, target, probability (of accessions or of runs); `auc`: as reported, by fold.
    """
    frame = Frame(
        x=(0.0, 1.0),
        y=(0.0, 1.0),
        x_label="false-positive rate",
        y_label="true-positive rate",
        alt=f"{title}: area under the curve {mean} over {mean.n} folds",
        square=True,
    )
    curves = {}
    for fold, rows in predictions.groupby("fold"):
        if rows["target"].nunique() == 2:  # else the curve is undefined
            fpr, tpr, _ = roc_curve(rows["target"].to_numpy(), rows["probability"].to_numpy(dtype=float))
            curves[fold] = fpr, tpr
    frame.line([0, 1], [0, 1], "chance", "chance: AUC 0.5")
    if curves:
        average = mean_curve(list(curves.values()))
        low, high = np.clip(average.mean - average.sd, 0, 1), np.clip(average.mean + average.sd, 0, 1)
        frame.band(GRID.tolist(), low.tolist(), high.tolist(), "active")
        for fold, (fpr, tpr) in curves.items():
            frame.line(fpr, tpr, "thin active", f"{fold_name(fold)}: AUC {auc[fold]:.3f}")
        frame.line(GRID, average.mean, "thick active", f"mean of {len(curves)} folds")
    legend = (
        Key(line_swatch("thick active"), f"mean ± sd, AUC {mean}"),
        Key(line_swatch("thin active"), "one fold"),
        Key(line_swatch("chance"), "chance"),
    )
    return Figure(title, frame.markup(), legend)


def _folds_and_mean(frame: Frame, history: pd.DataFrame, curve: Curve) -> None:
    by_epoch = history.pivot_table(index="epoch", columns="fold", values=curve.column, dropna=False).sort_index()
    shared = by_epoch.dropna()  # the epochs that every fold reached
    epochs = shared.index.astype(float).tolist()
    mean, sd = shared.mean(axis=1), shared.std(axis=1).fillna(0.0)
    if by_epoch.shape[1] > 1:
        low = (mean - sd).clip(lower=frame.y[0])
        high = (mean + sd).clip(upper=frame.y[1])
        frame.band(epochs, low.tolist(), high.tolist(), curve.css)
    for fold in by_epoch:
        frame.line(
            by_epoch.index.astype(float), by_epoch[fold], f"thin {curve.css}", f"{curve.name}, {fold_name(fold)}"
        )
    frame.line(epochs, mean, f"thick {curve.css}", f"{curve.name}, mean of the folds")
