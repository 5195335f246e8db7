"""``ms2img baselines`` as a person sees it: a row a model, a column a representation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipelines.baselines_config import BaselinesConfig
from pipelines.command import Output, Result
from pipelines.failure_limit import warn_of_failures

if TYPE_CHECKING:
    from pipelines.baselines import BaselineResults


def baselines_command(config: BaselinesConfig, output: Output) -> Result:
    """Cross-validate random forest, OPLS-DA and others on feature tables: the network's folds, samples and metrics."""
    from pipelines.baselines import baselines

    summary = baselines(config, quiet=output.quiet, notice=output.warn)
    counts, results = summary.counts, summary.results
    output.say(
        f"{config.assay}: {counts['active_accessions']} active and {counts['inactive_accessions']} inactive accessions "
        f"({counts['active_runs']} + {counts['inactive_runs']} runs), {counts['between_accessions']} between; "
        f"{config.folds} folds{', SIMULATED data' if summary.simulated else ''}"
    )
    if summary.left_out:
        output.warn(
            f"{len(summary.left_out)} runs with a value are left out, as some table has no row of them: "
            f"{summary.left_out[0]}, ..."
        )
    warn_of_failures(output, summary.errors, config.out)
    output.show(_auc_table(results))
    for row in results.multivariate.to_dict("records"):
        if row["method"] == "oplsda":
            output.say(_of_oplsda(row, config.permutations))
    unfitted = results.failures.to_dict("records")
    for row in unfitted:
        output.warn(f"{row['representation']}, {row['model']}: could not be fitted: {row['reason']}")
    output.say(f"-> {summary.output} (run {summary.run_id})")
    failed = len(summary.errors)
    if failed > summary.allowed:
        output.say(f"{failed} runs could not be read, more than --max-failures allows: exit status 3")
    return Result(
        {
            "run_id": summary.run_id,
            "output": summary.output,
            "simulated": summary.simulated,
            "counts": counts,
            "left_out": len(summary.left_out),
            "failed": failed,
            "not_fitted": unfitted,
            "models": _plain(results.summary.to_dict("records")),
            "multivariate": _plain(results.multivariate.drop(columns="q2y_permuted").to_dict("records")),
            "seconds": round(summary.seconds, 1),
        },
        status=3 if unfitted or failed > summary.allowed else 0,
    )


def _auc_table(results: BaselineResults) -> Table:
    """AUC per accession over all folds at once, with its 95 % interval."""
    columns = list(dict.fromkeys(results.summary["representation"]))
    cells = {(row["model"], row["representation"]): row for row in results.summary.to_dict("records")}
    table = Table(box=None, header_style="bold")
    table.add_column("model")
    for name in columns:
        table.add_column(f"{name} AUC (95 %)")
    for model in dict.fromkeys(results.summary["model"]):
        shown = []
        for name in columns:
            row = cells.get((model, name))
            shown.append(
                f"{row['auc_pooled']:.3f} ({row['auc_low']:.3f}–{row['auc_high']:.3f})" if row is not None else "-"
            )
        table.add_row(str(model), *shown)
    return table


def _of_oplsda(row: dict[Any, Any], permutations: int) -> str:
    tested = f", p {row['p_q2y']:.3f} over {permutations} permutations" if permutations else ""
    weak = "" if row["significant"] else "; by the rules of ropls no model"
    return (
        f"OPLS-DA, {row['representation']}: 1 + {row['orthogonal']} components, R2X {row['r2x']:.3f}, "
        f"R2Y {row['r2y']:.3f}, Q2Y {row['q2y']:.3f}{tested}{weak}"
    )


def _plain(rows: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """Without NaN, which JSON has not."""
    return [{str(name): _finite(value) for name, value in row.items()} for row in rows]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
