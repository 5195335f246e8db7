"""``ms2img study`` as a person sees it: the plan of ``--dry-run``, and what came of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich.table import Table

from pipelines.command import Output, Result, mean_and_sd
from pipelines.study.config import StudyConfig

if TYPE_CHECKING:
    from pipelines.study.forecast import Forecast
    from pipelines.study.job import StudySummary

HOUR = 3600.0
SHOWN_FAILURES = 5


def study_command(config: StudyConfig, output: Output) -> Result:
    """Compare models on images, feature tables and spectrum vectors over the same folds, all named in one YAML file."""
    from pipelines.study.job import plan_only, study

    if config.dry_run:
        return _planned(plan_only(config), output)
    return _done(study(config, quiet=output.quiet, notice=output.warn), config, output)


def _planned(plan: Forecast, output: Output) -> Result:
    table = Table(box=None, header_style="bold")
    for heading, side in (
        ("representation", "left"), ("size", "left"), ("model", "left"), ("cells", "right"), ("done", "right"),
        ("seconds a cell", "right"), ("hours", "right"), ("basis", "left"),
    ):  # fmt: skip
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.representation, cell.resolution, cell.model), []).append(cell.name)
    for (representation, resolution, model), names in groups.items():
        total = sum(plan.seconds[name] for name in names)
        done = len(plan.done.intersection(names))
        basis = "probe" if plan.probed.intersection(names) else "measured"
        table.add_row(
            representation, resolution, model, str(len(names)), str(done), f"{total / len(names):.1f}",
            f"{total / HOUR:.2f}", basis,
        )  # fmt: skip
    output.show(table)
    total = sum(plan.seconds.values())
    left = plan.left
    output.say(
        f"{len(plan.cells)} cells x {total / len(plan.cells):.1f} s = {total / HOUR:.2f} hours of computing; "
        f"{len(plan.cells) - len(plan.done)} cells left, {plan.slots} at a time: about {left / HOUR:.2f} hours here "
        "(images, tables and word counts not included)"
    )
    return Result(
        {
            "cells": len(plan.cells),
            "done": len(plan.done),
            "slots": plan.slots,
            "hours": round(total / HOUR, 4),
            "hours_left": round(left / HOUR, 4),
        }
    )


def _done(summary: StudySummary, config: StudyConfig, output: Output) -> Result:
    record = summary.record
    for name, reason in list(summary.failed.items())[:SHOWN_FAILURES]:
        output.warn(f"{name}: {reason}")
    if len(summary.failed) > SHOWN_FAILURES:
        output.warn(f"... and {len(summary.failed) - SHOWN_FAILURES} more: cells in {summary.location}/record")
    output.show(_scores(record.cells, record.metrics))
    counts = record.summary["cells"]
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    output.say(f"{len(record.cells)} cells: {told}{', SIMULATED data' if record.summary['simulated'] else ''}")
    output.say(f"report -> {summary.location}/report.html (run {summary.run_id})")
    values = {
        "run_id": summary.run_id,
        "output": summary.location,
        "cells": counts,
        "ran": summary.ran,
        "failed": sorted(summary.failed),
        "simulated": record.summary["simulated"],
        "seconds": round(summary.seconds, 1),
    }
    too_many = any(failed > config.failures_allowed(total) for failed, total in summary.failed_runs.values())
    return Result(values, status=3 if summary.failed or too_many else 0)


def _scores(cells: pd.DataFrame, metrics: pd.DataFrame) -> Table:
    """AUC per accession of every model, a column a task: mean and standard deviation over folds and seeds."""
    chosen = metrics[(metrics["level"] == "accession") & (metrics["condition"] == "")]
    merged = chosen.merge(cells, on="cell")
    tasks: Sequence[str] = list(dict.fromkeys(cells["task"]))
    table = Table(box=None, header_style="bold")
    for heading in ("AUC per accession", *tasks):
        table.add_column(str(heading))
    for names, rows in merged.groupby(["representation", "resolution", "model"], sort=False):
        row = [" ".join(str(name) for name in names if name)]
        for task in tasks:
            values = rows.loc[rows["task"] == task, "roc_auc"].dropna()
            mean = float(values.mean()) if len(values) else None
            sd = float(values.std()) if len(values) > 1 else None
            row.append(mean_and_sd(mean, None if sd is None or math.isnan(sd) else sd))
        table.add_row(*row)
    return table
