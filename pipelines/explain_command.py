"""``ms2img explain`` on the command line: what the job found, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipelines.command import Output, Result
from pipelines.explain import ExplainConfig, ExplainSummary, explain

if TYPE_CHECKING:
    from pipelines.explain_tables import Explained

SHOWN_PAIRS = 10  # of the --top, on the terminal; top.csv has them, pairs.parquet all
SHOWN_RUNS = 3  # of many runs, these are shown whole; runs.csv has all


def explain_command(config: ExplainConfig, output: Output) -> Result:
    """Show which precursor-fragment pairs of a run drove its score: a ranked table and a picture."""
    from pipelines.explain_tables import RUNS_CSV

    summary = explain(config, quiet=output.quiet)
    for row in summary.errors[:SHOWN_RUNS]:
        output.warn(f"{row['path']}: {row['error']}")
    if len(summary.errors) > SHOWN_RUNS:
        output.warn(f"... and {len(summary.errors) - SHOWN_RUNS} more: column 'error' of {RUNS_CSV}")
    if summary.incomplete:
        names = ", ".join(summary.incomplete[:SHOWN_RUNS]) + (", ..." if len(summary.incomplete) > SHOWN_RUNS else "")
        output.warn(
            f"{len(summary.incomplete)} explained incompletely, the pairs do not add up to the score: {names}; columns "
            f"'complete' and 'rest' of {RUNS_CSV}"
        )
    done = [each for each in summary.runs if each.top is not None]
    for each in done[:SHOWN_RUNS]:
        _show(each, summary, config, output)
    simulated = "; SIMULATED data: this says nothing of a real plant" if summary.simulated else ""
    output.say(
        f"{len(done)} explained, {len(summary.errors)} failed, by {summary.model} (version {summary.model_version})"
        f"{simulated} -> {summary.output}"
    )
    return Result(_values(summary, done), status=3 if summary.errors else 0)


def _show(each: Explained, summary: ExplainSummary, config: ExplainConfig, output: Output) -> None:
    """One run: its score, its best pairs, and what the score is without them."""
    from pipelines.explain_tables import TOP_CSV

    row, pairs = each.row, each.top
    output.say(
        f"{row['sample_id']}: {row['label']} in {summary.assay} with probability {row['probability']:.3f} "
        f"(threshold {row['threshold']:g}); without the first {min(config.top, row['n_pairs'])} of {row['n_pairs']} "
        f"pairs {row['probability_without_top']:.3f}"
    )
    table = Table(box=None, header_style="bold")
    for heading in ("rank", "precursor m/z", "fragment m/z", "RT s", "share", "intensity", "spectrum"):
        table.add_column(heading, justify="left" if heading == "spectrum" else "right")
    for pair in pairs.head(SHOWN_PAIRS).to_dict("records") if pairs is not None else []:
        table.add_row(
            str(pair["rank"]),
            f"{pair['precursor_mz']:.4f}",
            f"{pair['fragment_mz']:.4f}",
            "-" if pair["rt_seconds"] != pair["rt_seconds"] else f"{pair['rt_seconds']:.1f}",
            f"{pair['share']:+.2%}",
            f"{pair['fragment_intensity']:.3g}",
            str(pair["spectrum_id"]),
        )
    output.show(table)
    if row["picture"]:
        output.say(f"picture: {summary.output}/{row['picture']}; table: {summary.output}/{TOP_CSV}")


def _values(summary: ExplainSummary, done: list[Explained]) -> dict[str, Any]:
    """The line of ``--json``."""
    names = ("sample_id", "probability", "label", "probability_without_top", "complete", "picture")
    values = {name: getattr(summary, name) for name in ("output", "model", "model_version", "simulated", "assay")}
    return {
        **values,
        "explained": len(done),
        "failed": len(summary.errors),
        "runs": [{name: each.row[name] for name in names} for each in done],
    }
