"""Prediction against assay value (the paper's Figure 3A): as a scatter, and sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pipelines.report.classes import Classes
from pipelines.report.figures import Figure, Key
from pipelines.report.svg import Frame, Span, bar_swatch, finite_span, line_swatch, mark_swatch, nice_ticks
from pipelines.report.table import THRESHOLD, fold_name

NAMED_SLOTS = 30  # samples up to which the axis of `by_sample` carries their names (ours)
DOTTED_SLOTS = 120  # samples up to which assay values are dots, above it a line (ours)
NAME_LENGTH = 14  # characters of a name on an axis (ours)
PROBABILITY_SPAN = (-0.03, 1.03)  # so that marks at 0 and 1 are whole

#: target -> CSS class and shape; -1 is between the thresholds
CLASS_STYLE = {1: ("active", "circle"), 0: ("inactive", "square"), -1: ("unused", "circle")}


def against_assay(accessions: pd.DataFrame, assay: str, classes: Classes) -> Figure:
    """Predicted probability against assay value, one mark an accession.

    `accessions`: `table.per_accession` of the labelled runs, followed by that of the unused ones with target -1.
    """
    span = finite_span(accessions["value"].to_numpy(dtype=float))
    frame = Frame(
        x=span,
        y=PROBABILITY_SPAN,
        x_label=shortened(assay, 44),
        y_label=f"probability of {shortened(classes.active, 26)}",
        alt=f"Predicted probability against {assay} of {len(accessions)} accessions",
        y_ticks=nice_ticks(0, 1),
    )
    _draw_thresholds(frame, classes, span)
    for row in _unused_first(accessions):
        css, shape = CLASS_STYLE[row["target"]]
        frame.mark(row["value"], row["probability"], css, shape, said(row, classes))
        if is_wrong(row):
            frame.mark(row["value"], row["probability"], "wrong", "ring")
    present = [target for target in (1, 0, -1) if (accessions["target"] == target).any()]
    keys = [Key(mark_swatch(*CLASS_STYLE[target]), _class_key(target, classes)) for target in present]
    keys.append(Key(mark_swatch("wrong", "ring"), "misclassified"))
    return Figure("Prediction against assay value", frame.markup(), tuple(keys))


def by_sample(accessions: pd.DataFrame, classes: Classes) -> Figure:
    """The same accessions side by side in order of assay value: a bar from 0.5 to the prediction, the assay above it."""
    ordered = accessions.sort_values(["value", "accession"], kind="stable", ignore_index=True)
    n = len(ordered)
    named = n <= NAMED_SLOTS
    frame = Frame(
        x=(-0.5, n - 0.5),
        y=PROBABILITY_SPAN,
        x_label="" if named else f"{n} accessions, by rising assay value",
        y_label="probability; scaled assay value",
        alt=f"Prediction and scaled assay value of {n} accessions, by rising assay value",
        x_ticks=(),
        y_ticks=nice_ticks(0, 1),
        named=named,
    )
    rows = ordered.to_dict("records")
    width = 0.72 if n <= DOTTED_SLOTS else 1.0
    for slot, row in enumerate(rows):
        css = "wrong" if is_wrong(row) else "unused" if row["target"] < 0 else "right"
        frame.bar(slot, (THRESHOLD, row["probability"]), width, f"bar {css}", said(row, classes))
    for level in sorted({classes.low_scaled, classes.high_scaled}):
        frame.line(frame.x, (level, level), "limit", f"threshold at {level:g} of the scaled assay value")
    if n > DOTTED_SLOTS:
        frame.line(range(n), ordered["scaled"], "assay", "assay value, scaled 0-1")
    else:
        for slot, row in enumerate(rows):
            frame.mark(slot, row["scaled"], "assay", "dot", said(row, classes))
    if named:
        for slot, row in enumerate(rows):
            frame.slot_name(slot, shortened(row["accession"], NAME_LENGTH))
    legend = (
        Key(bar_swatch("bar right"), "prediction, right side of 0.5"),
        Key(bar_swatch("bar wrong"), "wrong side"),
        *([Key(bar_swatch("bar unused"), "between, not trained on")] if (ordered["target"] < 0).any() else []),
        Key(line_swatch("assay") if n > DOTTED_SLOTS else mark_swatch("assay", "dot"), "assay value, scaled 0-1"),
    )
    return Figure("Sample by sample", frame.markup(), legend)


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether a labelled accession falls on the wrong side of the decision threshold."""
    return bool(row["target"] >= 0) and bool(row["predicted"] != row["target"])


def said(row: dict[str, Any], classes: Classes) -> str:
    """What hovering over an accession tells."""
    where = fold_name(row["fold"]) if row["target"] >= 0 else "scored by the refitted model"
    true = classes.name(row["target"])
    return f"{row['accession']}: assay {row['value']:.4g} ({true}), probability {row['probability']:.3f}, {where}"


def shortened(text: str, length: int) -> str:
    """`text` in at most `length` characters, the middle left out: names often differ at their ends."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def _draw_thresholds(frame: Frame, classes: Classes, span: Span) -> None:
    inside = [min(max(limit, span[0]), span[1]) for limit in (classes.low, classes.high)]
    if inside[1] > inside[0]:
        frame.region((inside[0], inside[1]), frame.y, "between")
    for limit in sorted({classes.low, classes.high}):
        if span[0] <= limit <= span[1]:
            frame.line((limit, limit), frame.y, "limit", f"class threshold at {limit:.4g}")
    frame.line(span, (THRESHOLD, THRESHOLD), "cut", f"decision threshold at a probability of {THRESHOLD}")


def _unused_first(accessions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for mask in (accessions["target"] < 0, accessions["target"] >= 0):
        yield from accessions[np.asarray(mask)].to_dict("records")


def _class_key(target: int, classes: Classes) -> str:
    return "between, not trained on: scored by the refitted model" if target < 0 else classes.name(target)
