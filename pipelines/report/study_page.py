"""One HTML page about one study: which model won, by how much, and where the difference is noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.report import facts, study_methods
from pipelines.report.page import HERE
from pipelines.report.study_compare import with_verdicts
from pipelines.report.study_drift import drift_figures, drift_legend
from pipelines.report.study_grid import AS_TRAINED, Variant, entry, fold_scores, labelled, ranking, variants
from pipelines.report.study_tables import drift_table
from pipelines.report.study_task import task_context
from pipelines.report.study_words import Contest, contest, headline, p_text, p_value, sentences, signed
from pipelines.report.table import METRIC_NAMES, rows_of
from pipelines.study.record import DONE, StudyRecord

TRANSFER = "instrument"  # the kind of condition that is no amount of something
STYLES = ("style.css", "study_style.css")
VERDICTS = {
    "ahead": "first higher",
    "behind": "second higher",
    "leaning": "noise, by Holm",
    "noise": "noise",
    "undefined": "no spread",
}


def build_study_page(record: StudyRecord) -> str:
    """The whole page as HTML text; equal records give equal text. No script, no request, nothing outside the file."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(signed=signed, p_value=p_value)
    style = Markup("\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES))  # noqa: S704 - ours
    return environment.get_template("study_template.html").render(style=style, **_context(record))


def _context(record: StudyRecord) -> dict[str, Any]:
    summary = record.summary
    tasks = list(dict.fromkeys(record.cells["task"]))
    scores = fold_scores(record.cells, record.metrics)
    judged = with_verdicts(record.comparisons)
    every = variants(record.cells)
    contests = {task: contest(scores, judged, task, every) for task in tasks}
    main = summary.get("main_task", tasks[0])
    # Most rows are of the conditions, which have no figure of predictions.
    as_trained = replace(record, predictions=record.predictions[record.predictions["condition"] == AS_TRAINED])
    shown = {task: task_context(as_trained, scores, task) for task in tasks}
    return {
        "summary": summary,
        "simulated": bool(summary["simulated"]) or any(about["simulated"] for about in summary["tasks"].values()),
        "all_simulated": all(about["simulated"] for about in summary["tasks"].values()),
        "version": summary["versions"].get("ms2img", ""),
        "headline": headline(contests[main]),
        "cell_counts": study_methods.cell_counts(record.cells),
        "missing": int((record.cells["status"] != DONE).sum()),
        "findings": [(task, sentences(contests[task], summary["tasks"][task]["assay"])) for task in tasks],
        "tiles": list(_tiles(contests[main], record)),
        "tasks": tasks,
        "task_facts": [(task, study_methods.task_facts(summary["tasks"][task])) for task in tasks],
        "main": shown[main],
        "others": [shown[task] for task in tasks if task != main],
        "table_2": list(_table_2(record, scores, tasks, every)),
        "seeds": sorted(int(seed) for seed in record.cells["seed"].unique()),
        "comparisons": list(_comparisons(judged, tasks, main)),
        "verdicts": VERDICTS,
        **_conditions(record, every, main),
        "methods": list(study_methods.methods(record)),
        "caveats": list(study_methods.caveats(record)),
        "config": list(facts.flat(summary["config"])),
        "cells": rows_of(record.cells),
        "provenance": study_methods.provenance(summary),
    }


def _tiles(found: Contest, record: StudyRecord) -> Iterator[dict[str, str]]:
    """The key figures of the main task below the headline."""
    for name, side in (("Best CNN on images", found.image), ("Best without images", found.rival)):
        value, sd, note = (side.auc.mean_text, side.auc.sd_text, side.variant.label) if side else ("not run", "", "")
        yield {"name": f"{name}, ROC AUC", "value": value, "sd": sd, "note": note}
    if found.image is not None and found.rival is not None and found.rival.test is not None:
        test = found.rival.test
        interval = f"95\N{NO-BREAK SPACE}% interval {signed(test['low'])} to {signed(test['high'])}"
        note = f"{interval}; {p_text(test['p_holm'], 'corrected p')}"
        if found.rival.verdict == "undefined":
            note = "the same in every fold"
        yield {"name": "Difference", "value": signed(test["difference"]), "sd": "", "note": note}
    done, folds = int((record.cells["status"] == DONE).sum()), facts.count(int(record.summary["folds"]), "fold")
    yield {"name": "Cells that ran", "value": f"{done}/{len(record.cells)}", "sd": "", "note": f"{folds} each"}


def _table_2(
    record: StudyRecord, scores: pd.DataFrame, tasks: Sequence[str], every: Sequence[Variant]
) -> Iterator[dict[str, Any]]:
    """A row a variant, an entry a task; the highest mean AUC of a task is marked."""
    cells = labelled(record.cells)
    first = {task: next(iter(ranking(scores, task, every)), None) for task in tasks}
    for variant in every:
        found = [(task, entry(cells, scores, task, variant.label)) for task in tasks]
        entries = [
            {"found": each, "best": variant == first[task], "seeds": study_methods.seeds_text(each.seeds, each.planned)}
            for task, each in found
        ]
        yield {"variant": variant, "entries": entries}


def _comparisons(judged: pd.DataFrame, tasks: Sequence[str], main: str) -> Iterator[dict[str, Any]]:
    """The tables of paired tests, the main task first."""
    for task in sorted(tasks, key=lambda task: task != main):
        rows = judged[judged["task"] == task]
        metrics = [
            {
                "name": METRIC_NAMES[str(metric)],
                "groups": [(first, rows_of(group)) for first, group in found.groupby("a", sort=False)],
            }
            for metric, found in rows.groupby("metric", sort=False)
        ]
        yield {"task": task, "metrics": metrics}


def _conditions(record: StudyRecord, every: Sequence[Variant], main: str) -> dict[str, Any]:
    """Drift figures of each task that has some, the main task first, and the groups of the table of transfers."""
    table = drift_table(record)
    names = [variant.label for variant in every]
    drifts, transfers = [], []
    for task in sorted(table["task"].unique(), key=lambda task: task != main):
        rows = table[table["task"] == task]
        transferred = rows["level"].isna() | (rows["kind"] == TRANSFER)
        levels = rows[~transferred]
        if len(levels):
            told = {"figures": drift_figures(levels, names), "legend": drift_legend(levels, names)}
            about = record.summary["conditions"]
            simulated = any(about[name].get("simulated", False) for name in levels["condition"])
            drifts.append({"task": task, "rows": rows_of(levels), "simulated": simulated, **told})
        transfers += [
            {"task": task, "text": _transfer_text(record, task, condition), "rows": rows_of(group)}
            for condition, group in rows[transferred].groupby("condition", sort=False)
        ]
    return {"drifts": drifts, "transfers": transfers}


def _transfer_text(record: StudyRecord, task: str, condition: str) -> str:
    """ "trained on qtof, tested on orbitrap"."""
    trained = str(record.summary["tasks"][task]["data"])
    pairs = record.summary["conditions"].get(condition, {}).get("data", {})
    return f"trained on {trained}, tested on {pairs[trained]}" if trained in pairs else condition
