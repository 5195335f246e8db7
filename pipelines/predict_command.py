"""``ms2img predict`` on the command line: what was scored, and what could not be."""

from __future__ import annotations

from dataclasses import asdict

from pipelines.command import Output, Result
from pipelines.failure_limit import SHOWN
from pipelines.predict import PredictConfig, predict


def predict_command(config: PredictConfig, output: Output) -> Result:
    """Score run files, or the runs of one sheet, with a model from the registry; --distributed scores many on Ray."""
    summary = predict(config, quiet=output.quiet, notice=output.warn)
    for row in summary.errors[:SHOWN]:
        output.warn(f"{row['path']}: {row['error']}")
    if summary.failed > SHOWN:
        output.warn(f"... and {summary.failed - SHOWN} more: column 'error' of {summary.output}")
    output.say(
        f"{summary.predicted} scored ({summary.active} active), {summary.failed} failed, by {summary.model} "
        f"-> {summary.output}"
    )
    values = asdict(summary)
    del values["errors"], values["allowed"]
    return Result(values, status=3 if summary.failed > summary.allowed else 0)
