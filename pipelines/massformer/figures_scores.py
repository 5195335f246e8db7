"""Tables 2 and 3 at a glance: a point a source, a bar its 95 % interval, small points its seeds."""

from __future__ import annotations

import pandas as pd

from pipelines.figures_style import MUTED, PREDICTED, REAL, new_figure, plain, png

#: The measures shown, and what their axis says.
SHOWN = {
    "cosine": "cosine similarity (more is better)",
    "entropy": "entropy similarity (more is better)",
    "norm_rank": "normalised rank (less is better)",
    "top5": "true structure in the first 5 % (more is better)",
}
COLOURS = (PREDICTED, REAL)  # of the first and the second part


def score_panels(summary: pd.DataFrame) -> bytes:
    """PNG of the rows of `pipelines.massformer.evaluate_tables.summary_table`: a panel a measure, a row a source."""
    measures = [name for name in SHOWN if name in set(summary["measure"])]
    sources = list(dict.fromkeys(summary["source"]))
    parts = list(dict.fromkeys(summary["part"]))
    down = -(-len(measures) // 2)
    figure = new_figure(9.2, 0.9 + down * (0.9 + 0.19 * len(sources) * len(parts)))
    panels = figure.subplots(down, 2, squeeze=False, sharey=True).ravel()
    for axes, measure in zip(panels, measures, strict=False):
        for number, part in enumerate(parts):
            rows = summary[(summary["measure"] == measure) & (summary["part"] == part)].set_index("source")
            place = [sources.index(name) + 0.3 * (number - (len(parts) - 1) / 2) for name in rows.index]
            off = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
            axes.errorbar(
                rows["mean"],
                place,
                xerr=[each.clip(lower=0) for each in off],
                fmt="os"[number],
                color=COLOURS[number],
                markersize=5,
                capsize=3,
                label=part,
            )
        axes.set_xlabel(SHOWN[measure])
        axes.set_xlim(left=0)
        axes.set_yticks(range(len(sources)), labels=sources)
        axes.grid(axis="x", color=MUTED, alpha=0.2)
        plain(axes)
    panels[0].invert_yaxis()
    for axes in panels[len(measures) :]:
        axes.set_visible(False)
    if len(parts) > 1:
        panels[0].legend(fontsize=8, frameon=False)
    return png(figure)
