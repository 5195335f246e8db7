"""Figures of the quality-control page: one mark a run, runs to look at ringed, each with its name on hovering."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ms2img.ms2toimg.qc_drift import METRICS, Trend
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_pca import Pca
from pipelines.report.figures import Figure, Key
from pipelines.report.svg import Frame, Span, finite_span, line_swatch, mark_swatch
from pipelines.report.table import rows_of

MOST_MARKS = 1500  # unflagged runs drawn in a figure, evenly chosen; a page of ten thousand marks is slow (ours)
CROWD = 300  # runs above which marks are small (ours)
THOUSANDS_FROM = 10_000.0  # an axis up to there is told in units, beyond in thousands: labels have room for four digits
OUTER = 0.95  # confidence of the dashed ellipse beside the limit (ours)

AXES = {"n_fragments": "fragments", "grey_total": "dark pixels", "similarity_to_qc": "cosine"}

#: kind -> CSS class and shape
KIND_STYLE = {"sample": ("inactive", "circle"), "qc": ("active", "diamond"), "blank": ("unused", "square")}


def drawn(runs: pd.DataFrame) -> pd.DataFrame:
    """Every flagged run, and at most `MOST_MARKS` of the others."""
    flagged, others = runs[runs["n_flags"] > 0], runs[runs["n_flags"] == 0]
    if len(others) > MOST_MARKS:
        others = others.iloc[np.linspace(0, len(others) - 1, MOST_MARKS).astype(int)]
    return pd.concat([others, flagged])


def fragments(runs: pd.DataFrame) -> Figure:
    """Fragments a run over injection order, on a logarithmic axis."""
    values = np.log10(runs["n_fragments"].clip(lower=1).to_numpy(dtype=float))
    low, high = finite_span(values)
    frame = Frame(
        x=finite_span(runs["injection_order"].to_numpy(dtype=float)),
        y=(math.floor(low), max(math.ceil(high), math.floor(low) + 1)),
        x_label="injection order",
        y_label="fragments (powers of ten)",
        alt=f"Fragments of {len(runs)} runs over injection order",
        y_ticks=list(range(math.floor(low), max(math.ceil(high), math.floor(low) + 1) + 1)),
    )
    _marks(frame, runs.assign(y=values), "injection_order", "y", lambda row: f"{row['n_fragments']:,.0f} fragments")
    return Figure("Fragments", frame.markup(), _kind_keys(runs))


def replicates(runs: pd.DataFrame) -> Figure | None:
    """Similarity to the own replicates against that to the nearest other accession; None without replicates."""
    shown = runs.dropna(subset=["replicate_similarity", "nearest_similarity"])
    if not len(shown):
        return None
    both = shown[["replicate_similarity", "nearest_similarity"]].to_numpy(dtype=float)
    low, high = min(-0.1, float(both.min()) - 0.05), 1.02
    frame = Frame(
        x=(low, high),
        y=(low, high),
        x_label="similarity to the nearest other accession",
        y_label="similarity to own replicates",
        alt=f"Similarity of {len(shown)} runs to their replicates and to the nearest other accession",
        square=True,
    )
    frame.line((low, high), (low, high), "chance", "as near to another accession as to the own")
    strangers = float(np.median(shown["stranger_similarity"]))
    frame.line((low, high), (strangers, strangers), "limit", f"median similarity to strangers {strangers:.2f}")
    _marks(frame, shown, "nearest_similarity", "replicate_similarity", _said_replicates)
    legend = (
        *_kind_keys(shown),
        Key(line_swatch("chance"), "equally near"),
        Key(line_swatch("limit"), "strangers, median"),
    )
    return Figure("Replicates", frame.markup(), legend)


def blanks(runs: pd.DataFrame, limits: QcLimits) -> Figure | None:
    """What a blank shows of the run before it against what it shows of any; None where nothing was judged."""
    shown = runs.dropna(subset=["carry_over_seen", "carry_over_background"])
    if not len(shown):
        return None
    highest = float(shown[["carry_over_seen", "carry_over_background"]].to_numpy(dtype=float).max())
    top = min(1.0, max(2 * limits.carry_over, 1.1 * highest))
    frame = Frame(
        x=(-0.02 * top, top),
        y=(-0.02 * top, 1.02 * top),
        x_label="share of other samples' own pixels it shows",
        y_label="share of the preceding run's own",
        alt=f"Carry-over in {len(shown)} blanks",
        square=True,
    )
    frame.line((0, top), (0, top), "chance", "no carry-over")
    frame.line((0, top - limits.carry_over), (limits.carry_over, top), "limit", f"limit: {limits.carry_over:.0%} more")
    _marks(frame, shown, "carry_over_background", "carry_over_seen", lambda row: f"after {row['preceding_run']}")
    keys = (*_kind_keys(shown), Key(line_swatch("chance"), "no carry-over"), Key(line_swatch("limit"), "limit"))
    return Figure("Carry-over", frame.markup(), keys)


def scores(runs: pd.DataFrame, pca: Pca, limits: QcLimits) -> Figure:
    """The first two components, with the ellipses that hold 95 % and the limit's share of sound samples."""
    shown = runs.dropna(subset=["pc1"])
    far = pca.ellipse(limits.confidence)
    span = [_around(shown[name].to_numpy(dtype=float), half) for name, half in zip(("pc1", "pc2"), far, strict=True)]
    names = [f"component {number} ({share:.0%})" for number, share in enumerate(pca.explained[:2], 1)]
    frame = Frame(
        x=span[0], y=span[1], x_label=names[0], y_label=names[1], alt=f"Principal components of {len(shown)} runs"
    )
    turn = np.linspace(0, 2 * np.pi, 97)
    for confidence, css in ((OUTER, "chance"), (limits.confidence, "limit")):
        a, b = pca.ellipse(confidence)
        frame.line(a * np.cos(turn), b * np.sin(turn), css, f"{confidence:.0%} of sound samples")
    _marks(frame, shown, "pc1", "pc2", _said_distances)
    keys = (
        *_kind_keys(shown),
        Key(line_swatch("chance"), f"{OUTER:.0%}"),
        Key(line_swatch("limit"), f"{limits.confidence:.0%}"),
    )
    return Figure("Scores", frame.markup(), keys)


def distances(runs: pd.DataFrame, pca: Pca, limits: QcLimits) -> Figure:
    """Hotelling's T2 against the residual Q, both over their limits, on logarithmic axes; beyond 1 is out."""
    shown = runs[runs["kind"] == "sample"].dropna(subset=["t2"])
    x, y = (
        np.log10(np.maximum(shown[name].to_numpy(dtype=float) / limit, 1e-3))
        for name, limit in (("t2", pca.t2_limit), ("q", max(pca.q_limit, 1e-12)))
    )
    spans: list[Span] = [(min(-0.5, low), max(0.3, high)) for low, high in (finite_span(x), finite_span(y))]
    frame = Frame(
        x=spans[0],
        y=spans[1],
        x_label="T2 over its limit, log10",
        y_label="Q over its limit, log10",
        alt=f"T2 and Q of {len(shown)} samples over their limits",
    )
    said = f"{limits.confidence:.0%} limit"
    frame.line((0, 0), frame.y, "limit", f"T2: {said}")
    frame.line(frame.x, (0, 0), "limit", f"Q: {said}")
    _marks(frame, shown.assign(x=x, y=y), "x", "y", _said_distances)
    return Figure("Distances of the samples", frame.markup(), (*_kind_keys(shown), Key(line_swatch("limit"), said)))


def drift(runs: pd.DataFrame, trends: Sequence[Trend], batch: str) -> list[Figure]:
    """One panel a metric of one batch: QC runs (samples where these are too few) and the trend's line."""
    here = [trend for trend in trends if trend.batch == batch]
    out = []
    for metric, name in METRICS.items():
        found = [trend for trend in here if trend.metric == metric]
        if found:
            out.append(_drift_panel(runs[runs["batch"].fillna("") == batch], found, metric, name))
    return out


def _drift_panel(runs: pd.DataFrame, found: Sequence[Trend], metric: str, name: str) -> Figure:
    shown = runs[runs["kind"].isin([trend.kind for trend in found])].dropna(subset=[metric, "injection_order"])
    scale = 1000.0 if shown[metric].max() >= THOUSANDS_FROM else 1.0
    shown = shown.assign(y=shown[metric] / scale)
    values = shown["y"].to_numpy(dtype=float)
    low, high = finite_span(values, pad=0.08)
    frame = Frame(
        x=finite_span(shown["injection_order"].to_numpy(dtype=float)),
        y=(min(0.0, low), high),
        x_label="injection order",
        y_label=AXES[metric] + (" (thousands)" if scale > 1 else ""),
        alt=f"{name} over injection order",
    )
    for trend in found:
        ends = np.array(frame.x)
        said = f"{trend.kind}: {trend.change:+.0%} over the order, Spearman {trend.rho:+.2f}, p {trend.p:.2g}"
        frame.line(ends, (trend.intercept + trend.slope * ends) / scale, "thick " + KIND_STYLE[trend.kind][0], said)
    _marks(frame, shown, "injection_order", "y", lambda row: f"{name} {row[metric]:.4g}")
    keys = tuple(Key(line_swatch(f"thick {KIND_STYLE[trend.kind][0]}"), _trend_words(trend)) for trend in found)
    return Figure(name.capitalize(), frame.markup(), (*_kind_keys(shown), *keys))


def _trend_words(trend: Trend) -> str:
    p = f", p {trend.p:.2g}" if math.isfinite(trend.p) else ""
    return f"{trend.kind}: {trend.change:+.0%}{p}{'' if trend.judged else ' (not judged)'}"


def _marks(frame: Frame, runs: pd.DataFrame, x: str, y: str, said: Any) -> None:
    crowded = len(runs) > CROWD
    for row in rows_of(drawn(runs)):
        if not (math.isfinite(row[x]) and math.isfinite(row[y])):
            continue
        css, shape = KIND_STYLE[row["kind"]]
        small = f"small {shape}" if crowded and shape in ("circle", "square") else shape
        flags = f" [{row['flags'].replace(';', ', ')}]" if row["n_flags"] else ""
        title = f"{row['sample_id']}: {said(row)}{flags}"
        frame.mark(row[x], row[y], css, small, title)
        if row["n_flags"]:
            frame.mark(row[x], row[y], "wrong", "ring", title)


def _kind_keys(runs: pd.DataFrame) -> tuple[Key, ...]:
    def keys() -> Iterator[Key]:
        for kind, style in KIND_STYLE.items():
            if (runs["kind"] == kind).any():
                yield Key(mark_swatch(*style), kind)
        if (runs["n_flags"] > 0).any():
            yield Key(mark_swatch("wrong", "ring"), "to look at")

    return tuple(keys())


def _around(values: np.ndarray, half: float) -> Span:
    low, high = finite_span(np.append(values, [-half, half]))
    return low, high


def _said_replicates(row: dict[str, Any]) -> str:
    return (
        f"{row['accession']}, replicates {row['replicate_similarity']:.2f}, strangers "
        f"{row['stranger_similarity']:.2f}, nearest {row['nearest_accession']} {row['nearest_similarity']:.2f}"
    )


def _said_distances(row: dict[str, Any]) -> str:
    return f"T2 {row['t2']:.3g}, Q {row['q']:.3g}"
