"""The tables of the MassFormer grid: CSV for machines, Markdown for people, both of what is done."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.massformer_cells import Run, runs_of
from pipelines.massformer.evaluate_scores import PartScores
from pipelines.massformer.evaluate_tables import TITLES, difference_table, summary_table

if TYPE_CHECKING:
    from bench.massformer_grid import Grid


def write_tables(grid: Grid) -> None:
    """Write summary.csv, differences.csv and tables.md of the runs that are done."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs_of(grid.file):
        groups.setdefault((run.split, run.cell), []).append(run)
    summaries, differences, texts = [], [], []
    for (split, cell), runs in groups.items():
        results = {run: result for run in runs if (result := grid.result(run)) is not None}
        if not results:
            continue
        scores = [PartScores.from_dict(each) for result in results.values() for each in result["scores"]]
        scores += grid.floors(runs[0])
        context = context_of(grid, split, cell)
        summary = summary_table(scores, context)
        summaries.append(summary)
        differences.append(difference_table(scores).assign(split=split, cell=cell))
        by_part = {part: summary[summary["part"] == part] for part in dict.fromkeys(summary["part"])}
        texts += [markdown(rows, part, context, grid.file.minutes) for part, rows in by_part.items()]
        texts.append(_compute(results))
    waiting = [run.name for run in runs_of(grid.file) if grid.result(run) is None]
    texts.append(f"Not run: {', '.join(waiting)}." if waiting else "Every run of the grid is done.")
    out = grid.ledger.out
    if summaries:
        out.write("summary.csv", pd.concat(summaries).to_csv(index=False).encode())
        out.write("differences.csv", pd.concat(differences).to_csv(index=False).encode())
    out.write("tables.md", ("\n\n".join(texts) + "\n").encode())


def context_of(grid: Grid, split: str, cell: str) -> dict[str, Any]:
    """What is said beside every number."""
    file = grid.file
    return {
        "library": "+".join(sorted(set(grid.library.spectra["library"].to_pylist()))),
        "split": split,
        "split_seed": file.split_seed,
        "cell": cell,
        "adducts": " ".join(file.adducts),
        "held_out": file.held_out,
        "bin_width": file.bin_width,
        "transform": file.transform,
    }


def markdown(summary: pd.DataFrame, part: str, context: Mapping[str, Any], minutes: float) -> str:
    """One part's table, with all that its numbers depend on above it."""
    where = f"held out: {context['held_out']}" if part == "second" else "test part"
    head = (
        f"**{context['split']} split (seed {context['split_seed']}), {context['cell']}, {where}**: "
        f"{context['library']}, {context['adducts']}, {context['bin_width']:g} Da bins, {context['transform']} "
        f"transform, {minutes:g} minutes of training a run, {summary['molecules'].max()} molecules, "
        f"{summary['spectra'].max()} spectra"
    )
    measures = [name for name in TITLES if name in set(summary["measure"])]
    lines = [head, "", f"| source | {' | '.join(TITLES[name] for name in measures)} | seeds |"]
    lines.append("|---" * (len(measures) + 2) + "|")
    for source in dict.fromkeys(summary["source"]):
        rows = summary[summary["source"] == source].set_index("measure")
        shown = [_number(rows.loc[name]) for name in measures]
        lines.append(f"| {source} | {' | '.join(shown)} | {rows['seeds'].iloc[0] or '–'} |")
    return "\n".join(lines)


def _number(row: pd.Series) -> str:
    spread = "" if math.isnan(row["sd"]) else f" ± {row['sd']:.3f}"
    return f"{row['mean']:.3f}{spread} ({row['low']:.3f}–{row['high']:.3f})"


def _compute(results: Mapping[Run, Mapping[str, Any]]) -> str:
    """What each model cost: parameters, epochs within the budget, seconds with evaluation."""
    lines = [
        "| model | runs | parameters | epochs | best epoch | validation cosine | seconds a run |",
        "|---" * 7 + "|",
    ]
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for run, result in results.items():
        share = "" if run.fraction == 1 else f", {100 * run.fraction:g} % of the training part"
        by_model.setdefault(f"{run.model}{share}", []).append(result)
    for model, runs in by_model.items():
        trained = [each["training"] for each in runs]
        lines.append(
            f"| {model} | {len(runs)} | {runs[0]['parameters']:,} | {_mean(each['epochs'] for each in trained):.0f} "
            f"| {_mean(each['epoch'] for each in trained):.0f} "
            f"| {_mean(each['cosine'] for each in trained if each['cosine'] is not None):.3f} "
            f"| {_mean(each['seconds'] for each in runs):.0f} |"
        )
    return "\n".join(lines)


def _mean(values: Any) -> float:
    found: Sequence[float] = list(values)
    return statistics.fmean(found) if found else math.nan
