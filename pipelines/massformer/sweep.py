"""``ms2img massformer sweep`` as a person sees it: what came of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ms2img.errors import UsageError
from pipelines.command import Output, Result
from pipelines.massformer.sweep_config import SweepConfig

if TYPE_CHECKING:
    from pipelines.massformer.sweep_job import SweepSummary

__all__ = ["SweepConfig", "sweep_command"]

BEST_SHOWN = 10  # trials in the table that is printed; the sweep's record has all


def sweep_command(config: SweepConfig, output: Output) -> Result:
    """Search hyper-parameters by the validation cosine, train the best trial again, and register it."""
    try:
        from pipelines.massformer.sweep_job import sweep
    except ModuleNotFoundError as error:
        raise UsageError(f"sweeps need {error.name}: pip install 'ms2img[cluster,massformer]'") from None
    return _told(sweep(config, quiet=output.quiet, notice=output.warn), output)


def _told(summary: SweepSummary, output: Output) -> Result:
    from rich.table import Table

    facts, model = summary.record.summary, summary.registration
    counts, winner = facts["counts"], facts["winner"]
    output.say(
        f"{facts['library']}, {facts['kind']}: {counts['finished']} of {facts['trials']} trials finished, "
        f"{counts['stopped']} stopped, {counts['failed']} failed; {facts['seconds_trained'] / 3600:.2f} hours of "
        f"training{', SIMULATED data' if facts['simulated'] else ''}"
    )
    table = Table(box=None, header_style="bold")
    for heading in ("trial", "validation cosine", "weights", "minutes", "hyper-parameters"):
        table.add_column(heading, justify="left" if heading.startswith("hyper") else "right")
    best = summary.record.trials.sort_values("validation_cosine", ascending=False, na_position="last")
    for row in best.head(BEST_SHOWN).to_dict("records"):
        cosine = f"{row['validation_cosine']:.4f}" if row["status"] != "failed" else "-"
        table.add_row(str(row["trial"]), cosine, f"{row['n_weights']:,}", f"{row['seconds'] / 60:.1f}", row["values"])
    output.show(table)
    output.say(
        f"winner: trial {winner['trial']}, validation cosine {winner['validation_cosine']:.4f}; "
        f"trained again: {facts['refit']['cosine']:.4f}. The test part was not touched"
    )
    output.say(f"registered {model.uri} (run {summary.run_id}); {model.decision}")
    output.say(f"Next: ms2img massformer evaluate {model.uri} {summary.library} evaluation")
    return Result(
        {
            "run_id": summary.run_id,
            "model": model.uri,
            "champion": model.champion,
            "simulated": facts["simulated"],
            "counts": counts,
            "trials": facts["trials"],
            "winner": winner,
            "refit": facts["refit"],
            "split": facts["fingerprints"]["folds"],
            "output": summary.location,
            "workers": summary.workers,
            "seconds": round(summary.seconds, 1),
        }
    )
