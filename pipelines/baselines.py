"""``ms2img baselines``: what MS2toImg compares its network with, on the network's own folds, samples and metrics.

Everything that can be wrong with sheet, tables or options is found before the tracking store is touched.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ms2img.errors import UsageError
from pipelines.baselines_config import BaselinesConfig
from pipelines.progress import Steps

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.io.storage import Folder
    from pipelines.baselines_inputs import BaselineCohort, Representation

PREDICTIONS, METRICS, SUMMARY = "predictions.parquet", "metrics.csv", "summary.csv"
MULTIVARIATE, SCORES, CONFIG = "multivariate.csv", "scores.parquet", "config.yaml"


@dataclass(frozen=True, eq=False)
class BaselineResults:
    """The tables that are written; every one has a column ``representation``.

    `predictions` and `metrics` are those of a cross-validation with a column ``model``; `summary` has a row a model
    with pooled AUC and its 95 % interval; `multivariate` and `scores` are `ms2img.ms2toimg.baselines.multivariate`'s.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    summary: pd.DataFrame
    multivariate: pd.DataFrame
    scores: pd.DataFrame


@dataclass(frozen=True, eq=False)
class BaselinesSummary:
    """What the command tells: its run in the store, the folder, the tables, and who took part."""

    run_id: str
    output: str
    results: BaselineResults
    counts: dict[str, int]
    simulated: bool
    left_out: tuple[str, ...]
    failed: int
    seconds: float


def baselines(
    config: BaselinesConfig, *, quiet: bool = False, notice: Callable[[str], None] = print
) -> BaselinesSummary:
    """Cross-validate every model on every representation; write and track what came out.

    Raises `UsageError` before any work for wrong input, and when the tracking store cannot be reached.
    """
    try:
        from pipelines.baselines_inputs import load_cohort
    except ModuleNotFoundError as error:
        raise UsageError(f"the baselines need {error.name}: pip install 'ms2img[all]'") from None
    from ms2img.io.dataset.lease import Lease
    from ms2img.io.storage import folder
    from ms2img.tracking.store import open_store
    from pipelines.baselines_tracking import track_baselines

    started = time.monotonic()
    _require_writable(config.out)
    cohort = load_cohort(config, quiet=quiet)
    out = folder(config.out)
    store = open_store()
    with Lease(out, notice) as lease, track_baselines(store, config, cohort) as run:
        results = compare(config, cohort, quiet=quiet)
        lease.require()
        _write(out, config, cohort, results)
        run.log_results(results, lambda path: write_tables(folder(str(path)), results))
    return BaselinesSummary(
        run_id=run.run_id,
        output=out.location,
        results=results,
        counts=_counts(cohort),
        simulated=cohort.sheet.is_simulated(),
        left_out=cohort.left_out,
        failed=len(cohort.errors),
        seconds=time.monotonic() - started,
    )


def compare(config: BaselinesConfig, cohort: BaselineCohort, *, quiet: bool = False) -> BaselineResults:
    """Every model on every representation, and PCA and OPLS-DA of every table."""
    import pandas as pd

    from ms2img.ms2toimg.baselines.folds import baseline_folds, out_of_fold
    from ms2img.ms2toimg.summarise import fold_metrics

    folds = baseline_folds(cohort.labels, config.folds, seed=config.seed)
    predictions, metrics, summary, described = [], [], [], []
    cells = [(each, name) for each in cohort.representations for name in each.preprocessing]
    tables = [each for each in cohort.representations if each.is_table]
    with Steps(len(cells) + len(tables), "baselines", quiet=quiet) as progress:
        for each, name in cells:
            started = time.monotonic()
            found = out_of_fold(
                name, each.rows, cohort.labels, folds, seed=config.seed, preprocessing=each.preprocessing[name]
            )
            of_cell = {"representation": each.name, "model": name}
            scored = fold_metrics(found)
            predictions.append(found.assign(**of_cell))
            metrics.append(scored.assign(**of_cell))
            summary.append({**of_cell, **_summary_of(found, scored), "seconds": time.monotonic() - started})
            progress.advance(note=f"({each.name}, {name})")
        for each in tables:
            described.append(_described(config, cohort, each))
            progress.advance(note=f"({each.name}, PCA and OPLS-DA)")
    first = ["representation", "model"]
    return BaselineResults(
        predictions=_leading(pd.concat(predictions, ignore_index=True), first),
        metrics=_leading(pd.concat(metrics, ignore_index=True), first),
        summary=pd.DataFrame(summary),
        multivariate=pd.concat([table for table, _ in described], ignore_index=True),
        scores=pd.concat([points for _, points in described], ignore_index=True),
    )


def _summary_of(predictions: pd.DataFrame, metrics: pd.DataFrame) -> dict[str, float]:
    from ms2img.ms2toimg.summarise import mean_and_sd, pooled_auc

    pooled = pooled_auc(predictions)
    return {"auc_pooled": pooled.auc, "auc_low": pooled.low, "auc_high": pooled.high, **mean_and_sd(metrics)}


def _described(
    config: BaselinesConfig, cohort: BaselineCohort, table: Representation
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from ms2img.ms2toimg.baselines import default_preprocessing
    from ms2img.ms2toimg.baselines.multivariate import describe

    found = describe(
        table.rows,
        cohort.labels,
        preprocessing=default_preprocessing("oplsda", scale=config.scale),
        permutations=config.permutations,
        seed=config.seed,
    )
    of_table = {"representation": table.name}
    first = ["representation"]
    return _leading(found.summary.assign(**of_table), first), _leading(found.scores.assign(**of_table), first)


def _leading(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The same table, these columns first."""
    return table[[*columns, *(name for name in table.columns if name not in columns)]]


def _write(out: Folder, config: BaselinesConfig, cohort: BaselineCohort, results: BaselineResults) -> None:
    """Write the tables, the runs that could not be read, and the config, last. Each file appears at once."""
    from ms2img.io.dataset.failures import write_failures

    write_tables(out, results)
    if config.memo:
        write_failures(out, cohort.errors)
    out.write(CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def write_tables(out: Folder, results: BaselineResults) -> None:
    """Write the tables; lists in a CSV are parted by spaces."""
    multivariate = results.multivariate.assign(
        q2y_permuted=[" ".join(f"{value:.6g}" for value in row) for row in results.multivariate["q2y_permuted"]]
    )
    for name, table in ((PREDICTIONS, results.predictions), (SCORES, results.scores)):
        stream = io.BytesIO()
        table.to_parquet(stream, index=False)
        out.write(name, stream.getvalue())
    for name, table in ((METRICS, results.metrics), (SUMMARY, results.summary), (MULTIVARIATE, multivariate)):
        out.write(name, table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())


def _require_writable(out: str) -> None:
    """Refuse a file, and the folder of a data set: its own config.yaml would be replaced."""
    from ms2img.io.dataset.manifest import MANIFEST_NAME
    from ms2img.io.storage import folder, is_remote

    if not is_remote(out) and Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"{out}: is a file; --out must be a folder")
    if folder(out).read(MANIFEST_NAME) is not None:
        raise UsageError(f"{out}: is a data set or feature table; give --out a folder of its own")


def _counts(cohort: BaselineCohort) -> dict[str, Any]:
    labels = cohort.labels
    counts: dict[str, Any] = {}
    for name, value in (("active", 1), ("inactive", 0), ("between", -1)):
        rows = (labels.target == value).nonzero()[0]
        counts[f"{name}_runs"] = len(rows)
        counts[f"{name}_accessions"] = len({labels.accessions[row] for row in rows})
    return counts
