"""Which models of a study are compared with which, and what a comparison says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ms2img.learn.compare import Comparison, corrected_resampled_t, holm
from ms2img.ms2toimg.record_folder import typed
from pipelines.report.study_grid import Variant, fold_scores, of, ranking, variants
from pipelines.report.table import rows_of
from pipelines.study.record import COMPARISONS

COMPARED = ("roc_auc", "accuracy")
ALL_PAIRS_UP_TO = 4  # models of a task up to which each is compared with each (ours)
LEVEL = 0.05  # of the corrected p below which a difference is more than noise


def comparisons(cells: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Paired tests within each task, per accession: the best CNN against every other model, or all pairs of a few.

    `cells`, `metrics`: of a `StudyRecord`. The best CNN is that of the highest mean ROC AUC; a task without one
    compares its best model. Two models are paired over the folds (seed, fold) that both have with the same test
    accessions; ``folds`` and ``seeds`` count those. A metric that is undefined in a fold leaves that fold out.
    ``p_holm`` is corrected within task and metric. Columns `COMPARISONS`; what the test cannot say is NaN.
    """
    scores = fold_scores(cells, metrics)
    rows = [
        {"task": task, "metric": metric, "a": a, "b": b, **_compared(of(scores, task, a), of(scores, task, b), metric)}
        for task in dict.fromkeys(cells["task"])
        for a, b in _pairs(scores, task, variants(cells))
        for metric in COMPARED
    ]
    table = typed(pd.DataFrame(rows).reindex(columns=list(COMPARISONS)), COMPARISONS)
    for _, found in table.groupby(["task", "metric"]):
        table.loc[found.index, "p_holm"] = holm(found["p"].to_numpy())
    return table.sort_values(["task", "metric"], kind="stable", key=_place(cells), ignore_index=True)


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """`comparisons` with a ``verdict`` on `a`.

    "ahead" or "behind" (corrected p below 0.05), "leaning" (only before the correction), "noise", or "undefined" where
    the test has no p.
    """
    return table.assign(verdict=pd.Series([_verdict(row) for row in rows_of(table)], table.index, dtype=object))


def _pairs(scores: pd.DataFrame, task: str, among: Sequence[Variant]) -> Iterator[tuple[str, str]]:
    every = ranking(scores, task, among)
    cnns = [variant for variant in every if variant.is_cnn]
    for best in (cnns or every)[:1]:
        others = [variant.label for variant in every if variant != best]
        yield from ((best.label, other) for other in others)
        if len(every) <= ALL_PAIRS_UP_TO:
            yield from itertools.combinations(others, 2)


def _compared(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> dict[str, Any]:
    """One row's numbers; `a`, `b`: the fold scores of two models."""
    size = a.groupby("seed")["n"].transform("sum")
    ratio = float((a["n"] / (size - a["n"])).mean())  # 1 / (k - 1) of equal folds
    a = a.assign(positives=a["tp"] + a["fn"])
    b = b.assign(positives=b["tp"] + b["fn"])
    # The same fold has the same accessions: sizes that differ are another split.
    paired = a.merge(b, on=["seed", "fold", "n", "positives"], suffixes=("_a", "_b"))
    values = [paired[f"{metric}_{side}"].to_numpy(dtype=float) for side in "ab"]
    defined = paired[np.isfinite(values[0]) & np.isfinite(values[1])]
    found: Comparison = corrected_resampled_t(*values, test_to_train=ratio)
    told = asdict(found)
    return {**told, "folds": told.pop("n"), "seeds": int(defined["seed"].nunique())}


def _verdict(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["p"]):
        return "undefined"
    if row["p_holm"] < LEVEL:
        return "ahead" if row["difference"] > 0 else "behind"
    return "leaning" if row["p"] < LEVEL else "noise"


def _place(cells: pd.DataFrame) -> Callable[[pd.Series], pd.Series]:
    """A sort key: tasks in the order of the grid, metrics in that of `COMPARED`."""
    orders = {"task": list(dict.fromkeys(cells["task"])), "metric": list(COMPARED)}
    return lambda column: column.map(orders[str(column.name)].index)
