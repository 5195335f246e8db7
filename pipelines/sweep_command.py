"""``ms2img sweep`` as a person sees it: the plan of ``--dry-run``, and what came of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipelines.command import Output, Result, mean_and_sd
from pipelines.sweep_config import SweepConfig

if TYPE_CHECKING:
    from pipelines.sweep import SweepSummary
    from pipelines.sweep_forecast import Forecast

SHOWN_REFUSED = 5  # trials that cannot be trained, named on the terminal
GIB = 2**30
HOUR = 3600.0


def sweep_command(config: SweepConfig, output: Output) -> Result:
    """Search hyper-parameters by cross-validation, refit the best trial, and register it; --resume goes on with it."""
    from pipelines.sweep import sweep

    if config.dry_run:
        from pipelines.sweep_forecast import forecast

        return _planned(forecast(config), output)
    return _done(sweep(config, quiet=output.quiet, notice=output.warn), output)


def _planned(plan: Forecast, output: Output) -> Result:
    config, hours = plan.plan.config, plan.total_seconds / HOUR
    labels = plan.plan.cohort.labels
    output.say(
        f"{config.assay}: {config.trials} trials of space {plan.plan.space.name} ({config.searcher}, "
        f"{config.scheduler}), {config.folds} folds, {plan.plan.epochs} epochs, {len(labels.sample_ids)} runs"
    )
    machines = " + ".join(f"{node.cpus} CPUs, {node.gpus:g} GPUs, {node.memory / GIB:.1f} GiB" for node in plan.nodes)
    output.say(f"machines: {machines}")
    output.say(
        f"{plan.slots} trials at a time, each {config.cpus_per_trial} CPUs, {plan.gpus_per_trial:g} GPUs, "
        f"up to {max(plan.requests.values(), default=0) / GIB:.1f} GiB"
    )
    refused = [trial for trial in plan.trials if trial.refused is not None]
    for trial in refused[:SHOWN_REFUSED]:
        output.warn(str(trial.refused))
    if len(refused) > SHOWN_REFUSED:
        output.warn(f"... and {len(refused) - SHOWN_REFUSED} more that cannot be trained")
    table = Table(box=None, header_style="bold")
    for heading in ("trial", "weights", "memory GiB", "minutes", "hyper-parameters"):
        table.add_column(heading, justify="left" if heading.startswith("hyper") else "right")
    for trial in plan.trials:
        minutes = f"{plan.seconds[trial.number] / 60:.1f}" if trial.refused is None else "-"
        values = ", ".join(f"{name} {value}" for name, value in trial.values.items())
        table.add_row(str(trial.number), f"{trial.n_weights:,}", f"{trial.memory / GIB:.1f}", minutes, values)
    output.show(table)
    early = "" if config.scheduler == "fifo" else f"; less by what {config.scheduler} stops early"
    shown = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    output.say(f"about {shown} at the speed of this machine{early}")
    return Result(
        {
            "trials": len(plan.trials),
            "refused": len(refused),
            "concurrent": plan.slots,
            "memory": max(plan.requests.values(), default=0),
            "hours": round(hours, 3),
        }
    )


def _done(summary: SweepSummary, output: Output) -> Result:
    facts, model = summary.sweep.summary, summary.registration
    counts, winner, nested, paper = (facts[name] for name in ("counts", "winner", "nested", "paper_rule"))
    output.say(
        f"{facts['assay']}: {counts['finished']} of {facts['trials']} trials finished, {counts['stopped']} stopped, "
        f"{counts['failed']} failed; {facts['epochs_trained']} of {facts['epochs_full']} epochs"
        f"{', SIMULATED data' if facts['simulated'] else ''}"
    )
    values = ", ".join(f"{name} {value}" for name, value in winner["values"].items())
    output.say(f"winner: trial {winner['trial']} ({values}), {winner['n_weights']:,} weights")
    output.show(_choices(winner, nested, paper))
    if not nested["strict"]:
        output.say("early stopping looked at all folds' validation parts: 'nested' is then nearly, not strictly, so")
    optimism = paper["accuracy_mean"] - nested["accuracy_mean"]
    more = "more" if optimism > 0 else "no more"
    output.say(f"the paper's rule reports {more} than the nested accuracy on these folds ({optimism:+.3f})")
    output.say(f"registered {model.uri} (run {summary.run_id}); {model.decision}")
    output.say(f"Next: ms2img report {summary.run_id}")
    return Result(
        {
            "run_id": summary.run_id,
            "model": model.uri,
            "champion": model.champion,
            "simulated": facts["simulated"],
            "output": summary.location,
            "counts": counts,
            "winner": _finite(winner),
            "nested": _finite(nested),
            "paper_rule": _finite(paper),
            "seconds": round(summary.seconds, 1),
        }
    )


def _choices(winner: Mapping[str, Any], nested: Mapping[str, Any], paper: Mapping[str, Any]) -> Table:
    """The three ways to choose, by their scores on the outer folds."""
    table = Table(box=None, header_style="bold")
    for heading in ("chosen by", "trial", "accuracy per accession", "AUC per accession"):
        table.add_column(heading)
    per_fold = " ".join(map(str, nested["trials"]))
    for name, trial, scores in (
        ("outer folds, the paper's rule (optimistic)", str(paper["trial"]), paper),
        ("inner validation, mean over folds: registered", str(winner["trial"]), winner),
        ("inner validation of each fold (nested)", per_fold, nested),
    ):
        cells = (mean_and_sd(scores[f"{score}_mean"], scores[f"{score}_sd"]) for score in ("accuracy", "roc_auc"))
        table.add_row(name, trial, *cells)
    return table


def _finite(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Without NaN, which JSON has not."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()
    }
