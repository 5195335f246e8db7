"""The tables of a study: models by tasks, paired tests, drift, transfer to another instrument."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pipelines.report.study_compare import with_verdicts
from pipelines.report.study_grid import changed_scores, entry, fold_scores, labelled, of, variants
from pipelines.report.table import mean_sd
from pipelines.study.record import DONE, StudyRecord

TABLE_2 = (
    *("task", "assay", "representation", "resolution", "model", "status"),
    *("roc_auc_mean", "roc_auc_sd", "accuracy_mean", "accuracy_sd", "folds", "seeds", "seeds_planned"),
)
DRIFT = (
    *("task", "condition", "kind", "level", "label", "roc_auc_mean", "roc_auc_sd"),
    *("as_trained_mean", "as_trained_sd", "folds", "seeds"),
)


def study_tables(record: StudyRecord) -> dict[str, pd.DataFrame]:
    """The tables to write beside the page, by name: ``table2``, ``comparisons``, ``drift``.

    All numbers are per accession, mean and sample sd over the folds of all seeds. In ``table2`` a row without numbers
    has a ``status`` other than "done". ``drift`` has a row condition x model; its ``level`` is NaN where a condition
    is another instrument and no amount of something.
    """
    return {
        "table2": pd.DataFrame(_table_2(record), columns=list(TABLE_2)),
        "comparisons": with_verdicts(record.comparisons),
        "drift": drift_table(record),
    }


def _table_2(record: StudyRecord) -> Iterator[dict[str, Any]]:
    cells, scores = labelled(record.cells), fold_scores(record.cells, record.metrics)
    for task in dict.fromkeys(record.cells["task"]):
        for variant in variants(record.cells[record.cells["task"] == task]):
            found = entry(cells, scores, task, variant.label)
            yield {
                "task": task,
                "assay": record.summary["tasks"][task]["assay"],
                "representation": variant.representation,
                "resolution": variant.resolution,
                "model": variant.model,
                "status": found.said or DONE,
                "roc_auc_mean": found.roc_auc.mean,
                "roc_auc_sd": found.roc_auc.sd,
                "accuracy_mean": found.accuracy.mean,
                "accuracy_sd": found.accuracy.sd,
                "folds": found.folds,
                "seeds": ", ".join(map(str, found.seeds)),
                "seeds_planned": found.planned,
            }


def drift_table(record: StudyRecord) -> pd.DataFrame:
    """ROC AUC of every model under every condition, beside its AUC on what it was trained on; columns `DRIFT`."""
    conditions: Mapping[str, Mapping[str, Any]] = record.summary.get("conditions", {})
    scores = fold_scores(record.cells, record.metrics)
    changed = changed_scores(record.cells, record.metrics)
    order = {variant.label: variant.order for variant in variants(record.cells)}
    rows: list[dict[str, Any]] = []
    for (task, condition, label), found in changed.groupby(["task", "condition", "label"]):
        as_trained = mean_sd(of(scores, str(task), str(label))["roc_auc"])
        auc, about = mean_sd(found["roc_auc"]), conditions.get(str(condition), {})
        rows.append(
            {
                "task": task,
                "condition": condition,
                "kind": str(about.get("kind", condition)),
                "level": level_of(about),
                "label": label,
                "roc_auc_mean": auc.mean,
                "roc_auc_sd": auc.sd,
                "as_trained_mean": as_trained.mean,
                "as_trained_sd": as_trained.sd,
                "folds": auc.n,
                "seeds": int(found["seed"].nunique()),
            }
        )
    tasks = list(dict.fromkeys(record.cells["task"]))

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        level = -math.inf if math.isnan(row["level"]) else row["level"]  # NaN has no order
        return tasks.index(row["task"]), row["kind"], level, row["condition"], order[row["label"]]

    rows.sort(key=place)
    return pd.DataFrame(rows, columns=list(DRIFT))


def level_of(condition: Mapping[str, Any]) -> float:
    """The amount of a condition; NaN where it has none."""
    level = condition.get("level")
    return math.nan if level is None else float(level)
