"""Table 1 as a picture, and how methods hold out as signals get faint."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from ms2img.deepion.benchmark.methods import ENCODER, METHODS
from ms2img.deepion.benchmark.scores import MEASURES
from pipelines.deepion.benchmark_tables import OURS, label_of
from pipelines.figures_style import MUTED, new_figure, plain, png

#: Okabe and Ito's, of the networks, which are what the paper is about; methods of the other kinds share one a kind.
COLOURS = {"deepion": "#d55e00", "simsiam": "#0072b2", "resnet18": "#009e73"}
OF_KIND = {"similarity": MUTED, "vectors": "#a0619a"}
#: Tells apart what shares a colour.
MARKERS = "osvDP^*Xph<>"

PAIR_PANELS = {
    "average_precision": "isotope pairs: average precision",
    "precision_mean": "precision at the published limit",
    "recall_mean": "recall at the published limit",
}
PAIR_COLOURS = {
    "mass, intensity": "#b0b6bd",
    "cosine": MUTED,
    "Pearson": "#a0619a",
    "DeepION COL": "#0072b2",
    "DeepION ISO": "#d55e00",
}


def score_bars(rows: pd.DataFrame, *, simulated: bool) -> bytes:
    """PNG of one set's rows of `pipelines.deepion.benchmark_tables.summary_table`: a panel a measure, a bar a method.

    Whiskers are the 95 % intervals over ions.
    """
    titles = list(dict.fromkeys(rows["title"]))
    figure = new_figure(9.2, 1.1 + 0.26 * len(titles))
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        some = rows[rows["measure"] == measure].set_index("title").loc[titles]
        off = [(some["mean"] - some["low"]).clip(lower=0), (some["high"] - some["mean"]).clip(lower=0)]
        colours = [_colour(*row) for row in zip(some["method"], some["space"], strict=True)]
        axes.barh(titles, some["mean"], color=colours, height=0.7)
        axes.errorbar(some["mean"], range(len(titles)), xerr=off, fmt="none", ecolor="black", elinewidth=1, capsize=2)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-0.6, len(titles) - 0.4)
        axes.set_xlabel(f"{label_of(measure, some['k'].iloc[0])}, 95 % over ions")
        axes.grid(axis="x", color=MUTED, alpha=0.2)
        axes.set_axisbelow(True)
        plain(axes)
    panels[0].invert_yaxis()
    first = rows.iloc[0]
    what = "SIMULATED ion images" if simulated else "ion images"
    figure.suptitle(
        f"{first['data']}: {first['ions']} {what} in {first['classes']} classes, {first['missing']:.0%} missing",
        fontsize=9,
    )
    return png(figure)


def curves(summary: pd.DataFrame) -> bytes:
    """PNG of several phantoms: each measure over their difficulty, a line a method, DeepION's band its 95 % interval.

    Several phantoms of one difficulty are drawn by their mean.
    """
    rows = summary.dropna(subset=["difficulty"])
    figure = new_figure(9.2, 4.6)
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for title, some in rows[rows["measure"] == measure].groupby("title", sort=False):
            _draw(axes, str(title), some)
        axes.set_xlabel("difficulty of the SIMULATED section")
        axes.set_title(label_of(measure, rows["k"].iloc[0]))
        axes.set_ylim(0, 1.02)
        axes.grid(color=MUTED, alpha=0.2)
        plain(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return png(figure)


def pair_curves(pairs: pd.DataFrame) -> bytes:
    """PNG of the rows of `pipelines.deepion.benchmark_pairs.pair_table` over the difficulty of several phantoms.

    How well distances order candidates; then precision and recall of the searches with the published limit, beside
    those that accept all that mass allows.
    """
    figure = new_figure(11.5, 4.2)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (column, title) in zip(panels, PAIR_PANELS.items(), strict=True):
        some = pairs if column == "average_precision" else pairs[pairs["limit"].isin(["none", "published"])]
        for (source, space), rows in some.groupby(["source", "space"], sort=False):
            mean = rows.groupby("difficulty")[column].mean()
            name = f"{source}, {space}" if space == ENCODER else source
            colour, line = PAIR_COLOURS[str(source)], "--" if space == ENCODER else "-"
            axes.plot(mean.index, mean, color=colour, linestyle=line, linewidth=2, marker="o", markersize=3, label=name)
        axes.set_title(title)
        axes.set_xlabel("difficulty of the SIMULATED section")
        axes.set_ylim(0, 1.02)
        axes.grid(color=MUTED, alpha=0.2)
        plain(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return png(figure)


def _draw(axes: Axes, title: str, rows: pd.DataFrame) -> None:
    method, space = rows["method"].iloc[0], rows["space"].iloc[0]
    mean = rows.groupby("difficulty")[["mean", "low", "high"]].mean()
    colour, is_network = _colour(method, ""), method in COLOURS
    axes.plot(
        mean.index,
        mean["mean"],
        color=colour,
        linestyle="--" if space == ENCODER else "-",
        linewidth=2 if is_network else 1,
        marker=None if is_network else MARKERS[list(METHODS).index(method)],
        markersize=4,
        alpha=1.0 if is_network else 0.7,
        zorder=3 if is_network else 2,
        label=title,
    )
    if method == OURS and space != ENCODER:
        axes.fill_between(mean.index, mean["low"], mean["high"], color=colour, alpha=0.12, linewidth=0)


def _colour(method: str, space: str) -> tuple[float, float, float]:
    """A method's colour; of an encoder's row, half of it on white."""
    red, green, blue = to_rgb(COLOURS.get(method) or OF_KIND[METHODS[method].kind])
    return ((1 + red) / 2, (1 + green) / 2, (1 + blue) / 2) if space == ENCODER else (red, green, blue)
