"""Prediction against assay value (the paper's Figure 3A): as a scatter, and sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipelines.report.classes import Classes
from pipelines.report.figures import Figure, Key
from pipelines.report.svg import Frame, Span, bar_swatch, finite_span, line_swatch, mark_swatch, nice_ticks
from pipelines.report.table import fold_name, rows_of

NAMED_SLOTS = 30  # samples up to which the axis of `by_sample` carries their names (ours)
CROWD = 120  # accessions above which marks are small, errors have no outline and assay values are a line (ours)
NAME_LENGTH = 14  # characters of a name on an axis (ours)
PROBABILITY_SPAN = (-0.03, 1.03)  # so that marks at 0 and 1 are whole

#: target -> CSS class and shape; -1 is between the thresholds
CLASS_STYLE = {1: ("active", "circle"), 0: ("inactive", "square"), -1: ("unused", "circle")}


def against_assay(accessions: pd.DataFrame, assay: str, classes: Classes) -> Figure:
    """Predicted probability against assay value, one mark an accession.

    `accessions`: `table.per_accession` of the labelled runs, followed by that of the unused ones with target -1.
    """
    crowded = len(accessions) > CROWD
    span = finite_span(accessions["value"].to_numpy(dtype=float))
    frame = Frame(
        x=span,
        y=PROBABILITY_SPAN,
        x_label=shortened(assay, 44),
        y_label=f"probability of {classes.active}",
        alt=f"Predicted probability against {assay} of {len(accessions)} accessions",
        y_ticks=nice_ticks(0, 1),
    )
    _draw_thresholds(frame, classes, span)
    for row in _unused_first(accessions):
        css, shape = CLASS_STYLE[row["target"]]
        frame.mark(row["value"], row["probability"], css, f"small {shape}" if crowded else shape, said(row, classes))
        if is_wrong(row) and not crowded:
            frame.mark(row["value"], row["probability"], "wrong", "ring")
    keys = [Key(mark_swatch(*CLASS_STYLE[target]), classes.name(target)) for target in _present(accessions)]
    if not crowded:
        keys.append(Key(mark_swatch("wrong", "ring"), "misclassified"))
    return Figure("Prediction against assay value", frame.markup(), tuple(keys))


def by_sample(accessions: pd.DataFrame, classes: Classes) -> Figure:
    """The same accessions side by side in order of assay value: bar for prediction, dot for assay."""
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
    rows = rows_of(ordered)
    crowded = n > CROWD
    for slot, row in enumerate(rows):
        css = f"bar {CLASS_STYLE[row['target']][0]}" + (" wrong" if is_wrong(row) and not crowded else "")
        frame.bar(slot, (classes.cut, row["probability"]), 1.0 if crowded else 0.72, css, said(row, classes))
    for level in sorted({classes.low_scaled, classes.high_scaled}):
        frame.line(frame.x, (level, level), "limit", f"threshold at {level:g} of the scaled assay value")
    if crowded:
        frame.line(range(n), ordered["scaled"], "assay", "assay value, scaled 0-1")
    else:
        for slot, row in enumerate(rows):
            frame.mark(slot, row["scaled"], "assay", "dot", said(row, classes))
    if named:
        for slot, row in enumerate(rows):
            frame.slot_name(slot, shortened(row["accession"], NAME_LENGTH))
    keys = [Key(bar_swatch(f"bar {CLASS_STYLE[target][0]}"), classes.name(target)) for target in _present(ordered)]
    if not crowded:
        keys.append(Key(bar_swatch("bar wrong"), "misclassified"))
    keys.append(Key(line_swatch("assay") if crowded else mark_swatch("assay", "dot"), "assay value, scaled 0-1"))
    return Figure("Sample by sample", frame.markup(), tuple(keys))


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether a labelled accession falls on the wrong side of the decision threshold."""
    return bool(row["target"] >= 0) and bool(row["predicted"] != row["target"])


def said(row: dict[str, Any], classes: Classes) -> str:
    """What hovering over an accession tells."""
    where = fold_name(row["fold"]) if row["target"] >= 0 else "scored by the refitted model"
    true = classes.name(row["target"])
    return f"{row['accession']}: assay value {row['value']:.4g} ({true}), probability {row['probability']:.3f}, {where}"


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
    frame.line(span, (classes.cut, classes.cut), "cut", f"decision threshold at a probability of {classes.cut:g}")


def _unused_first(accessions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for mask in (accessions["target"] < 0, accessions["target"] >= 0):
        yield from rows_of(accessions[mask])


def _present(accessions: pd.DataFrame) -> list[int]:
    """The targets that occur, for the legend."""
    return [target for target in CLASS_STYLE if (accessions["target"] == target).any()]
