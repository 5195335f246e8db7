"""Learning curves of a CNN at each image resolution (the paper's Table 1), and what its kept epochs reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from pipelines.report.figures import Curve, Figure, learning_curves
from pipelines.report.study_grid import pixels, without_numbers
from pipelines.report.table import MeanSd, mean_sd
from pipelines.study.config import RESOLUTIONS
from pipelines.study.record import StudyRecord

LOSS, ACCURACY = ("train_loss", "validation_loss"), ("train_accuracy", "validation_accuracy")


@dataclass(frozen=True)
class Resolution:
    """One row of Table 1: both pictures, or `said` in their place; `kept` by column of the history."""

    name: str
    folds: int
    seeds: tuple[int, ...]
    loss: Figure | None
    accuracy: Figure | None
    kept: dict[str, MeanSd]
    said: str  # "" | "not run" | "failed" | "not in the grid"


def resolutions(record: StudyRecord, task: str, model: str) -> list[Resolution]:
    """The paper's three resolutions and any other of the grid, from coarse to fine."""
    cells = record.cells
    planned = cells[(cells["task"] == task) & (cells["model"] == model) & (cells["representation"] == "image")]
    names = sorted({*RESOLUTIONS, *planned["resolution"]}, key=lambda name: (pixels(name), name))
    return [_resolution(record, planned[planned["resolution"] == name], name) for name in names]


def _resolution(record: StudyRecord, planned: pd.DataFrame, name: str) -> Resolution:
    history = record.history.merge(planned[["cell", "seed"]], on="cell", how="inner")
    if not len(history):
        return Resolution(name, 0, (), None, None, {}, without_numbers(planned))
    # Folds of all seeds side by side, numbered through.
    history = history.assign(fold=history.groupby(["seed", "fold"]).ngroup())
    history = history.sort_values(["fold", "epoch"], ignore_index=True)
    kept = history[history["is_best"]]
    return Resolution(
        name=name,
        folds=int(history["fold"].nunique()),
        seeds=tuple(sorted(int(seed) for seed in history["seed"].unique())),
        loss=_figure(history, LOSS, "Loss"),
        accuracy=_figure(history, ACCURACY, "Accuracy"),
        kept={column: mean_sd(kept[column]) for column in (*LOSS, *ACCURACY)},
        said="",
    )


def _figure(history: pd.DataFrame, columns: tuple[str, str], title: str) -> Figure | None:
    """Training and validation over epochs; None where neither was measured."""
    curves = list(_measured(history, columns))
    return learning_curves(history, curves, title=title, top=1.0 if title == "Accuracy" else None) if curves else None


def _measured(history: pd.DataFrame, columns: tuple[str, str]) -> Iterator[Curve]:
    for column, css, name in zip(columns, ("inactive", "active"), ("training", "validation"), strict=True):
        if history[column].notna().any():
            yield Curve(column, css, name)
