"""The drift figure of the documents, from the ``drift.csv`` of a study: AUC against drift, a panel a kind.

python -m bench.drift_figure OUT/drift.csv docs/images/drift.png
"""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.report.study_drift import FACTORS, KINDS

COLUMNS = 4  # panels a row
MARKS = "os^Dv<>P"


def main() -> None:
    """Draw the panels that have more than one level, and say in a table what the others gave."""
    source, target = sys.argv[1:]
    table = pd.read_csv(source)
    table = table[table["level"].notna()]
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    mpl.rcParams["font.size"] = 9
    rows = -(-len(kinds) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 2.9 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    labels = list(dict.fromkeys(table["label"]))
    for ax, kind in zip(axes, kinds, strict=False):
        for place, label in enumerate(labels):
            found = table[(table["kind"] == kind) & (table["label"] == label)].sort_values("level")
            levels = np.log2(found["level"]) if kind in FACTORS else found["level"]
            means = [found["as_trained_mean"].iloc[0], *found["roc_auc_mean"]]
            ax.plot([0.0, *levels], means, marker=MARKS[place % len(MARKS)], ms=4, lw=1.4, label=label)
        title, axis = KINDS[kind]
        ax.set(title=title, xlabel=axis)
        ax.axhline(0.5, color="0.6", lw=0.8, ls=":")
        ax.grid(axis="y", color="0.9")
    for ax in axes[len(kinds) :]:
        ax.set_axis_off()
    for ax in axes[::COLUMNS]:
        ax.set_ylabel("ROC AUC per accession")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("SIMULATED accessions, SIMULATED drift: trained without, tested with", fontsize=10)
    figure.savefig(target, dpi=110)
    wide = table.pivot_table(index=["kind", "level"], columns="label", values="roc_auc_mean")
    print(wide[labels].round(3).to_string())


if __name__ == "__main__":
    main()
