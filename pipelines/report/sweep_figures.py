"""The pictures of a search: the rules side by side, best so far, all trials at once, each hyper-parameter alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.assay_figures import shortened
from pipelines.report.figures import Figure, Key
from pipelines.report.svg import BOTTOM, TOP, Frame, finite_span, line_swatch, mark_swatch, nice_ticks, tick_text
from pipelines.report.sweep_axes import Axis, said_values
from pipelines.report.sweep_trials import Scale, Trials, said_trial

#: Section of the summary -> what the page calls the rule; in the order of trust.
RULES = {"nested": "nested", "winner": "winner", "paper_rule": "paper’s rule"}
#: Measure -> its name, class, shape and where it stands beside its rule.
MEASURES = {
    "accuracy": ("accuracy", "active", "circle", -0.12),
    "roc_auc": ("ROC AUC", "inactive", "square", 0.12),
}
SMALL_WIDTH, SMALL_HEIGHT, SMALL_LEFT = 220.0, 190.0, 38.0  # two beside each other on a phone keep readable text
AXES_LEFT = 118.0  # room for the hyper-parameters' names in `all_trials`
AXES_HEIGHT, AXIS_ROOM = 340.0, (42.0, 60.0)  # of `all_trials` in user units, and least and most for one axis
SCORE_NAME = "accuracy"  # short, as the names beside it are fields


def rules(summary: Mapping[str, Any]) -> Figure:
    """Accuracy and ROC AUC by each rule, mean ± sd over the test folds."""
    ends: list[float] = []
    for rule in RULES:
        for measure in MEASURES:
            mean, sd = _mean_sd(summary[rule], measure)
            ends += [mean - sd, mean + sd]
    low, high = finite_span(np.array(ends), pad=0.08)
    places = {float(slot): name for slot, name in enumerate(RULES.values())}
    frame = Frame(
        x=(-0.5, len(RULES) - 0.5),
        y=(max(low, 0.0), min(high, 1.0) if high <= 1.0 else 1.02),
        x_label="",
        y_label="on the test folds",
        alt="Accuracy and ROC AUC on the test folds: nested, of the winner, and by the paper’s rule",
        x_ticks=tuple(places),
        x_names=places,
    )
    for measure, (name, css, shape, aside) in MEASURES.items():
        for slot, (rule, called) in enumerate(RULES.items()):
            mean, sd = _mean_sd(summary[rule], measure)
            if math.isfinite(mean):
                said = f"{called}: {name} {mean:.3f} ± {sd:.3f}"
                frame.line((slot + aside,) * 2, (max(mean - sd, frame.y[0]), min(mean + sd, frame.y[1])), css)
                frame.mark(slot + aside, mean, css, shape, said)
    keys = tuple(Key(mark_swatch(css, shape), f"{name}, mean ± sd") for name, css, shape, _ in MEASURES.values())
    return Figure("What each rule reports", frame.markup(), keys)


def best_so_far(trials: Trials, *, by_time: bool) -> Figure:
    """The highest validation accuracy so far, and what that trial had on the test folds, over time or trials."""
    rows = sorted(trials.every, key=lambda row: (row["ended"], row["trial"]))
    unit, seconds = _unit(max(row["ended"] for row in rows))
    at = [row["ended"] / seconds for row in rows] if by_time else [float(n) for n in range(1, len(rows) + 1)]
    shown = np.array([row[key] for row in trials.every for key in ("validation_accuracy", "accuracy")], dtype=float)
    what = f"{unit} since the start" if by_time else "trials ended"
    last = max(at) * 1.03 or 1.0
    frame = Frame(
        x=(0.0, last),
        y=finite_span(shown),
        x_label=what,
        y_label="accuracy",
        x_ticks=[tick for tick in nice_ticks(0.0, last) if by_time or tick == round(tick)],
        alt=f"Best validation accuracy so far over {what}, and the same trials’ accuracy on the test folds",
    )
    for place, row in zip(at, rows, strict=True):
        if math.isfinite(row["validation_accuracy"]):
            css = "active faint" if row["status"] == "finished" else "unused"
            frame.mark(place, row["validation_accuracy"], css, "dot", said_trial(row))
    steps: dict[str, tuple[list[float], list[float]]] = {"validation_accuracy": ([], []), "accuracy": ([], [])}
    best: Mapping[str, Any] | None = None
    rank = {row["trial"]: place for place, row in enumerate(trials.finished)}
    for place, row in zip(at, rows, strict=True):
        if row["trial"] in rank and (best is None or rank[row["trial"]] < rank[best["trial"]]):
            for name, (x, y) in steps.items():
                x += [place] * 2 if y else [place]
                y += [y[-1], row[name]] if y else [row[name]]
            best = row
    for name, (x, y) in steps.items():
        curve = "thick active" if name == "validation_accuracy" else "thick inactive"
        frame.line([*x, frame.x[1]], [*y, y[-1]], curve)
    keys = (
        Key(line_swatch("thick active"), "best inner validation so far"),
        Key(line_swatch("thick inactive"), "the same trial on the test folds"),
        Key(mark_swatch("active faint", "dot"), "a trial"),
    )
    return Figure(f"Best so far, by {'time' if by_time else 'trials'}", frame.markup(), keys + _stopped_key(trials))


def all_trials(trials: Trials, axes: Sequence[Axis]) -> Figure:
    """Parallel coordinates: an axis a hyper-parameter from top to bottom, the score's last, a line a finished trial."""
    scale, finished = trials.scale, trials.finished
    score = _score_axis(scale)
    every = [*axes, score]
    room = min(max(AXES_HEIGHT / len(every), AXIS_ROOM[0]), AXIS_ROOM[1])
    frame = Frame(
        x=(0.0, 1.0),
        y=(len(every) - 0.4, -0.5),
        x_label="",
        y_label="",
        alt=f"{len(finished)} trials as lines across {len(axes)} hyper-parameters, and their validation accuracy",
        x_ticks=(),
        y_ticks=(),
        height=TOP + room * len(every) + BOTTOM,
        left=AXES_LEFT,
    )
    columns = [[axis.share(place) for place in axis.places(_values(finished, axis))] for axis in axes]
    columns.append([score.share(row["validation_accuracy"]) for row in finished])
    for level, axis in enumerate(every):
        frame.line((0.0, 1.0), (level, level), "axis-line")
        frame.text(-0.02, level, shortened(axis.name, 17), "slot", down=4, anchor="end")
    for index in reversed(range(len(finished))):  # the best on top
        row = finished[index]
        css = f"fifth-{scale.fifth(row['validation_accuracy'])}" + (" chosen" if index == 0 else "")
        said = f"{said_trial(row)}; {said_values(row['values'])}"
        frame.line([column[index] for column in columns], range(len(every)), css, said)
    for level, axis in enumerate(every):
        for tick, text in axis.ticks.items():
            frame.line((axis.share(tick),) * 2, (level - 0.06, level + 0.06), "axis-tick")
            frame.text(axis.share(tick), level, text, "slot halo", down=15)
    keys = [Key(line_swatch(f"fifth-{fifth}"), scale.extent(fifth)) for fifth in scale.present()]
    return Figure("All finished trials", frame.markup(), (*keys, Key(line_swatch("fifth-4 chosen"), "the winner")))


def against(trials: Trials, axis: Axis) -> Figure:
    """Validation accuracy against one hyper-parameter, small."""
    every = sorted(trials.every, key=lambda row: row["trial"])  # by score, equal values would lie on a slope
    scored = [row for row in every if math.isfinite(row["validation_accuracy"])]
    span = finite_span(np.array([row["validation_accuracy"] for row in scored]))
    frame = Frame(
        x=axis.span,
        y=span,
        x_label="",
        y_label="",
        alt=f"Validation accuracy against {axis.name} of {len(scored)} trials",
        x_ticks=tuple(axis.ticks),
        x_names=axis.ticks,
        y_ticks=nice_ticks(*span, most=5),
        width=SMALL_WIDTH,
        height=SMALL_HEIGHT,
        left=SMALL_LEFT,
    )
    for place, row in zip(axis.places(_values(scored, axis)), scored, strict=True):
        said = f"{said_trial(row)}; {said_values({axis.name: row['values'][axis.name]})}"
        chosen = row is trials.finished[0]
        css = "best active" if chosen else "active faint" if row["status"] == "finished" else "unused"
        frame.mark(place, row["validation_accuracy"], css, "diamond" if chosen else "dot", said)
    return Figure(axis.name, frame.markup())


def against_legend(trials: Trials) -> tuple[Key, ...]:
    """One legend for all of `against`."""
    winner = Key(mark_swatch("best active", "diamond"), "the winner")
    return (Key(mark_swatch("active faint", "dot"), "a finished trial"), winner, *_stopped_key(trials))


def _stopped_key(trials: Trials) -> tuple[Key, ...]:
    shown = [row for row in trials.others if math.isfinite(row["validation_accuracy"])]
    return (Key(mark_swatch("unused", "dot"), "stopped early, its score by then"),) if shown else ()


def _score_axis(scale: Scale) -> Axis:
    span = finite_span(np.array([scale.low, scale.high]))
    ticks = nice_ticks(*span, most=5)
    return Axis(SCORE_NAME, span, {tick: tick_text(tick) for tick in ticks}, 0.0)


def _values(rows: Sequence[Mapping[str, Any]], axis: Axis) -> list[Any]:
    return [row["values"][axis.name] for row in rows]


def _mean_sd(section: Mapping[str, Any], measure: str) -> tuple[float, float]:
    """NaN and 0 where the summary, read back from JSON, holds null."""
    mean, sd = section[f"{measure}_mean"], section[f"{measure}_sd"]
    finite_sd = sd is not None and math.isfinite(sd)
    return (math.nan if mean is None else float(mean)), (float(sd) if finite_sd else 0.0)


def _unit(seconds: float) -> tuple[str, float]:
    """A readable unit of time and its seconds."""
    return ("hours", 3600.0) if seconds > 2 * 3600 else ("minutes", 60.0) if seconds > 120 else ("seconds", 1.0)
