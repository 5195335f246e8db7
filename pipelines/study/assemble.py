"""From the ledger to the record: every cell of the grid, done or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.record import PREDICTIONS as CV_PREDICTIONS
from ms2img.ms2toimg.record_folder import typed
from ms2img.ms2toimg.summarise import fold_metrics
from pipelines.study.cell import FoldOutcome
from pipelines.study.config import StudyFile
from pipelines.study.grid import Cell
from pipelines.study.ledger import StudyLedger
from pipelines.study.plan import CellWork, PlannedCell
from pipelines.study.record import (
    CELLS,
    DONE,
    FAILED,
    HISTORY,
    METRICS,
    MULTIVARIATE,
    NOT_RUN,
    PREDICTIONS,
    SCORES,
    TABLES,
)


def finished(ledger: StudyLedger, work: CellWork) -> list[FoldOutcome] | None:
    """The outcomes of a cell's folds; None unless all are there."""
    found = [ledger.fold(work.cell.name, task.fold.index, work.key) for task in work.tasks]
    outcomes = [outcome for outcome in found if outcome is not None]
    return outcomes if len(outcomes) == len(found) else None


def cell_tables(
    study: StudyFile, ledger: StudyLedger, grid: Sequence[Cell], planned: Mapping[str, PlannedCell]
) -> dict[str, pd.DataFrame]:
    """The tables cells, predictions, metrics and history of the record; a cell that was not planned was not run."""
    cells, parts = [], {name: [empty(name)] for name in ("predictions", "metrics", "history")}
    for cell in grid:
        plan = planned.get(cell.name)
        outcomes = finished(ledger, plan.work) if plan is not None else None
        reason = ledger.failure(cell.name, plan.work.key) if plan is not None and outcomes is None else None
        cells.append(_cell_row(study, cell, outcomes, reason))
        if plan is None or outcomes is None:
            continue
        predictions = _predictions(plan, outcomes)
        parts["predictions"].append(predictions)
        parts["metrics"].append(_metrics(predictions))
        parts["history"].append(_history(cell.name, outcomes))
    joined = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
    return {"cells": typed(pd.DataFrame(cells), CELLS), **joined}


def empty(name: str) -> pd.DataFrame:
    """A table of the record without a row."""
    columns = TABLES[name]
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in columns.items()})


def figure_tables(found: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """The tables scores and multivariate of the record."""
    scores = pd.concat([empty("scores"), *(scores for scores, _ in found)], ignore_index=True)
    summary = pd.concat([empty("multivariate"), *(summary for _, summary in found)], ignore_index=True)
    return {"scores": typed(scores, SCORES), "multivariate": typed(summary, MULTIVARIATE)}


def _cell_row(
    study: StudyFile, cell: Cell, outcomes: Sequence[FoldOutcome] | None, reason: str | None
) -> dict[str, Any]:
    task = study.tasks[cell.task]
    status = DONE if outcomes is not None else FAILED if reason else NOT_RUN
    return {
        "cell": cell.name,
        **asdict(cell),
        "data": task.data,
        "assay": task.assay,
        "status": status,
        "reason": reason or "",
        "seconds": sum(outcome.seconds for outcome in outcomes) if outcomes is not None else np.nan,
    }


def _predictions(plan: PlannedCell, outcomes: Sequence[FoldOutcome]) -> pd.DataFrame:
    """Every tested run of every condition, columns `PREDICTIONS`."""
    labels, work = plan.labels, plan.work
    first = {accession: row for row, accession in reversed(list(enumerate(labels.accessions)))}
    parts = [empty("predictions")]
    for outcome in outcomes:
        for condition, rows in outcome.rows.items():
            samples = work.base if not condition else work.conditions[condition]
            of_labels = [first[accession] for accession in samples.accessions[rows]]
            table = _judged(labels, of_labels) | {
                "cell": work.cell.name,
                "condition": condition,
                "sample_id": [samples.sample_ids[row] for row in rows],
                "accession": samples.accessions[rows],
                "fold": outcome.fold,
                "probability": outcome.probability[condition],
            }
            parts.append(typed(pd.DataFrame(table), PREDICTIONS))
    return pd.concat(parts, ignore_index=True)


def _judged(labels: Labels, rows: Sequence[int]) -> dict[str, Any]:
    """What the labels say of these rows' accessions."""
    return {"value": labels.value[rows], "scaled": labels.scaled[rows], "target": labels.target[rows]}


def _metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """Metrics of one cell: a row condition x fold x level, columns `METRICS`."""
    parts = [empty("metrics")]
    for (cell, condition), rows in predictions.groupby(["cell", "condition"], sort=True):
        found = fold_metrics(typed(rows, CV_PREDICTIONS))
        parts.append(typed(found.assign(cell=str(cell), condition=str(condition)), METRICS))
    return pd.concat(parts, ignore_index=True)


def _history(cell: str, outcomes: Sequence[FoldOutcome]) -> pd.DataFrame:
    parts = [empty("history")]
    for outcome in outcomes:
        if outcome.history:
            rows = pd.DataFrame(outcome.history).reindex(columns=list(HISTORY))
            rows = rows.assign(cell=cell, fold=outcome.fold, is_best=rows["epoch"] == outcome.best_epoch)
            parts.append(typed(rows, HISTORY))
    return pd.concat(parts, ignore_index=True)
