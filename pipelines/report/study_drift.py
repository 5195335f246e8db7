"""How each model's AUC changes as its input drifts away from what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines.report.figures import Figure, Key
from pipelines.report.svg import Frame, Span, finite_span, line_swatch, mark_swatch
from pipelines.report.table import MeanSd, rows_of

#: Kind of drift (`pipelines.study.config.Kind`) -> title, axis; the order of the panels.
KINDS = {
    "mz_ppm": ("m/z, calibration (ppm)", "m/z error (ppm)"),
    "mz_da": ("m/z, calibration (Da)", "m/z error (Da)"),
    "mz_noise_ppm": ("m/z, random error", "standard deviation of m/z (ppm)"),
    "missing_fragments": ("Missing fragments", "share of fragments missing"),
    "intensity_tilt": ("Response over m/z", "response at m/z 1500 over 100 (log2)"),
    "intensity_scale": ("All intensities", "factor on all intensities (log2)"),
    "retention": ("Retention, recorded times", "retention shift (s)"),
    "retention_sampling": ("Retention, while sampling", "retention drift (s)"),
}
FACTORS = ("intensity_tilt", "intensity_scale")  # 1 is unchanged: drawn by their logarithm
HUES = 7  # of the lines in study_style.css; the dash changes from one round of hues to the next
SHAPES = ("circle", "square", "diamond")
NO_DRIFT = 0.0


def drift_figures(drift: pd.DataFrame, names: Sequence[str]) -> list[Figure]:
    """One panel a kind of drift, one line a model; level 0 is the test on what the model was trained on.

    `drift`: rows of one task of `study_tables.drift_table` that have a level; `names`: labels, in the order of a table.
    All panels share the vertical axis.
    """
    shown = [label for label in names if (drift["label"] == label).any()]
    ends = drift[["roc_auc_mean", "as_trained_mean"]].to_numpy(dtype=float)
    low, high = finite_span(ends, pad=0.06)
    span = (max(min(low, 0.48), 0.0), min(max(high, 0.6), 1.02))
    kinds = [kind for kind in KINDS if (drift["kind"] == kind).any()]
    return [_panel(_drawn(drift[drift["kind"] == kind], kind), kind, shown, span) for kind in kinds]


def drift_legend(drift: pd.DataFrame, names: Sequence[str]) -> tuple[Key, ...]:
    """One entry a model, for all panels."""
    shown = [label for label in names if (drift["label"] == label).any()]
    return tuple(
        Key(line_swatch(line) + mark_swatch(mark, shape), label) for label, line, mark, shape in _styled(shown)
    )


def _panel(rows: pd.DataFrame, kind: str, shown: Sequence[str], span: Span) -> Figure:
    title, axis = KINDS[kind]
    levels = sorted({NO_DRIFT, *(float(level) for level in rows["level"])})
    room = 0.04 * (levels[-1] - levels[0] or 1.0)
    frame = Frame(
        x=(levels[0] - room, levels[-1] + room),
        y=span,
        x_label=axis,
        y_label="ROC AUC per accession",
        alt=f"ROC AUC of {len(shown)} models against {axis}, from {levels[0]:g} to {levels[-1]:g}",
    )
    if span[0] < 0.5:
        frame.line(frame.x, (0.5, 0.5), "chance", "chance: AUC 0.5")
    for label, line, mark, shape in _styled(shown):
        points = _points(rows[rows["label"] == label])
        frame.line([level for level, _ in points], [auc.mean for _, auc in points], line, label)
        for level, auc in points:
            if np.isfinite(auc.mean):
                frame.mark(level, auc.mean, mark, shape, f"{label} at {level:g}: AUC {auc}")
    return Figure(title, frame.markup())


def _points(rows: pd.DataFrame) -> list[tuple[float, MeanSd]]:
    """(level, AUC) of one model, by level; the level without drift comes from the model's own test."""
    found = {
        float(row["level"]): MeanSd(row["roc_auc_mean"], row["roc_auc_sd"], int(row["folds"])) for row in rows_of(rows)
    }
    for row in rows_of(rows.head(1)):
        found.setdefault(NO_DRIFT, MeanSd(row["as_trained_mean"], row["as_trained_sd"], int(row["folds"])))
    return sorted(found.items())


def _styled(shown: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Label, class of its line, class and shape of its marks."""
    return [
        (label, f"hue-{place % HUES} round-{place // HUES % 3}", f"hue-{place % HUES}", SHAPES[place % len(SHAPES)])
        for place, label in enumerate(shown)
    ]


def _drawn(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The rows with their levels on an axis whose 0 is no drift."""
    return rows.assign(level=np.log2(rows["level"])) if kind in FACTORS else rows
