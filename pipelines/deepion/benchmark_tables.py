"""The tables of a benchmark: every method's scores with intervals, and what DeepION is ahead of the others by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ms2img.deepion.benchmark.labelled import Labelled
from ms2img.deepion.benchmark.methods import ENCODER, METHODS
from ms2img.deepion.benchmark.scores import MEASURES, IonScores, score
from ms2img.learn.intervals import bootstrap_mean

if TYPE_CHECKING:
    from pipelines.deepion.benchmark_job import CellResult

OURS = "deepion"


@dataclass(frozen=True, eq=False)
class Scored:
    """A method in one space on one set of ion images: the scores of each seed that has any."""

    data: Labelled
    method: str
    space: str
    title: str
    seeds: list[int]
    runs: list[IonScores]

    def average(self, measure: str) -> NDArray[np.float64]:
        """Of each scored ion, [m], the mean over the seeds: what is left of chance in training averages out."""
        mean: NDArray[np.float64] = np.mean([run.measure(measure) for run in self.runs], axis=0)
        return mean


def scored(data: Sequence[Labelled], results: Sequence[CellResult], *, top: int, weights: bool) -> list[Scored]:
    """Scores of all finished cells in COL mode, in the order of data and table. weights: whether networks had any."""
    found = []
    for each in data:
        own = [result for result in results if result.cell.data == each.name and result.cell.mode == "col"]
        for method in METHODS.values():
            runs = [result for result in own if result.cell.method == method.name and not result.failure]
            for space in method.spaces if runs else ():
                scores = [score(each, space, result.spaces[space], top=top) for result in runs]
                seeds = [result.cell.seed for result in runs] if method.is_seeded else []
                title = title_of(method.name, space, weights=weights)
                found.append(Scored(each, method.name, space, title, seeds, scores))
    return found


def title_of(method: str, space: str, *, weights: bool) -> str:
    """What a row is called: a network's UMAP, the paper's, by its name alone, and its encoder beside it."""
    title = METHODS[method].title
    if method == "resnet18":
        title += " (published weights)" if weights else " (random)"
    return f"{title}, encoder" if space == ENCODER else title


def summary_table(scores: Sequence[Scored], *, top: int) -> pd.DataFrame:
    """A row a set of ion images, method, space and measure.

    mean, sd: over seeds, of the means over ions (sd needs two seeds). low, high: 95 % interval over ions of the seeds'
    average. k: neighbours that precision is counted among. missing: share of the scored ions' values that are 0.
    """
    rows = []
    for each in scores:
        for measure in MEASURES:
            means = [float(run.measure(measure).mean()) for run in each.runs]
            interval = bootstrap_mean(each.average(measure))
            rows.append(
                {
                    "data": each.data.name,
                    "difficulty": math.nan if each.data.difficulty is None else each.data.difficulty,
                    "missing": round(1 - float(each.data.ions.presence[each.data.rows].mean()), 4),
                    "method": each.method,
                    "space": each.space,
                    "title": each.title,
                    "measure": measure,
                    "k": top,
                    "mean": interval.mean,
                    "sd": float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
                    "low": interval.low,
                    "high": interval.high,
                    "ions": interval.n,
                    "classes": each.data.n_classes,
                    "seeds": " ".join(map(str, each.seeds)),
                }
            )
    return pd.DataFrame(rows)


def difference_table(scores: Sequence[Scored]) -> pd.DataFrame:
    """A row a set of ion images, measure, space of DeepION and other row: DeepION - other over the same ions.

    Both are averaged over their seeds. apart: whether the 95 % interval leaves out 0.
    """
    rows = []
    for ours in (each for each in scores if each.method == OURS):
        for other in scores:
            if other.data is not ours.data or other is ours:
                continue
            for measure in MEASURES:
                interval = bootstrap_mean(ours.average(measure) - other.average(measure))
                rows.append(
                    {
                        "data": ours.data.name,
                        "measure": measure,
                        "first": ours.title,
                        "second": other.title,
                        "difference": interval.mean,
                        "low": interval.low,
                        "high": interval.high,
                        "ions": interval.n,
                        "apart": interval.is_apart_from_zero,
                    }
                )
    return pd.DataFrame(rows)


def printed_scores(summary: pd.DataFrame) -> dict[str, list[dict[str, str]]]:
    """For a terminal: by heading, a row a method."""
    tables: dict[str, list[dict[str, str]]] = {}
    for name, rows in summary.groupby("data", sort=False):
        first = rows.iloc[0]
        heading = f"{name}: {first['ions']} ions in {first['classes']} classes, {first['missing']:.0%} missing"
        tables[heading] = [
            {"method": str(title)}
            | {label_of(row["measure"], row["k"]): number_of(row) for row in of_title.to_dict("records")}
            | {"seeds": of_title["seeds"].iloc[0] or "-"}
            for title, of_title in rows.groupby("title", sort=False)
        ]
    return tables


def label_of(measure: str, k: int) -> str:
    """What people are shown of a measure."""
    return MEASURES[measure].replace("at k", f"at {k}")


def number_of(row: Mapping[Any, Any], name: str = "") -> str:
    """``0.867 ± 0.012 (0.790–0.930)``: mean, sd over seeds where there are some, interval over ions."""
    mean, sd, low, high = (row[name + part] for part in ("mean", "sd", "low", "high"))
    if math.isnan(mean):
        return "-"
    spread = "" if math.isnan(sd) else f" ± {sd:.3f}"
    return f"{mean:.3f}{spread} ({low:.3f}–{high:.3f})"
