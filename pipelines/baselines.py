"""``ms2img baselines``: what MS2toImg compares its network with, on the network's own folds, samples and metrics.

Everything that can be wrong with sheet, tables or options is found before the tracking store is touched.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
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
FAILURES = "failures.csv"
FAILED = ("representation", "model", "reason")  # its columns; the model "multivariate" is PCA and OPLS-DA of all rows


@dataclass(frozen=True, eq=False)
class BaselineResults:
    """The tables that are written; every one has a column ``representation``.

    `predictions` and `metrics` are those of a cross-validation with a column ``model``; `summary` has a row a model
    with pooled AUC and its 95 % interval; `multivariate` and `scores` are `ms2img.ms2toimg.baselines.multivariate`'s.
    `failures` has a row, columns `FAILED`, for what could not be fitted: it is in no other table.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    summary: pd.DataFrame
    multivariate: pd.DataFrame
    scores: pd.DataFrame
    failures: pd.DataFrame


@dataclass(frozen=True, eq=False)
class BaselinesSummary:
    """What the command tells: its run in the store, the folder, the tables, and who took part.

    `errors`: the rows of ``errors.parquet``, runs that could not be read; `allowed`: how many there may be.
    """

    run_id: str
    output: str
    results: BaselineResults
    counts: dict[str, int]
    simulated: bool
    left_out: tuple[str, ...]
    errors: tuple[dict[str, Any], ...]
    allowed: int
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
        errors=tuple(cohort.errors),
        allowed=config.failures_allowed(cohort.n_read),
        seconds=time.monotonic() - started,
    )


def compare(config: BaselinesConfig, cohort: BaselineCohort, *, quiet: bool = False) -> BaselineResults:
    """Every model on every representation, and PCA and OPLS-DA of every table; what cannot be fitted is named."""
    import pandas as pd

    from ms2img.ms2toimg.baselines.multivariate import SCORES as POINTS
    from ms2img.ms2toimg.baselines.multivariate import SUMMARY as DESCRIBED
    from ms2img.ms2toimg.record import METRICS as SCORED
    from ms2img.ms2toimg.record import PREDICTIONS as PREDICTED

    first = ("representation", "model")
    cells, described, failures = [], [], []
    planned = [(each, name) for each in cohort.representations for name in each.preprocessing]
    tables = [each for each in cohort.representations if each.is_table]
    with Steps(len(planned) + len(tables), "baselines", quiet=quiet) as progress:
        for each, name in planned:
            try:
                cells.append(_validated(config, cohort, each, name))
            except ValueError as error:  # how the models say that there is nothing to fit
                failures.append((each.name, name, _first_line(error)))
            progress.advance(note=f"({each.name}, {name})")
        for each in tables:
            try:
                described.append(_described(config, cohort, each))
            except ValueError as error:
                failures.append((each.name, "multivariate", _first_line(error)))
            progress.advance(note=f"({each.name}, PCA and OPLS-DA)")
    return BaselineResults(
        predictions=_stacked([cell[0] for cell in cells], (*first, *PREDICTED)),
        metrics=_stacked([cell[1] for cell in cells], (*first, *SCORED)),
        summary=_stacked([cell[2] for cell in cells], first),
        multivariate=_stacked([table for table, _ in described], (first[0], *DESCRIBED)),
        scores=_stacked([points for _, points in described], (first[0], *POINTS)),
        failures=pd.DataFrame(failures, columns=list(FAILED)),
    )


def _validated(
    config: BaselinesConfig, cohort: BaselineCohort, table: Representation, name: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Predictions, metrics and summary (one row) of one model on one representation."""
    import pandas as pd

    from ms2img.ms2toimg.baselines.folds import out_of_fold
    from ms2img.ms2toimg.summarise import fold_metrics

    started = time.monotonic()
    preprocessing = table.preprocessing[name]
    found = out_of_fold(name, table.rows, cohort.labels, cohort.folds, seed=config.seed, preprocessing=preprocessing)
    scored = fold_metrics(found)
    summary = pd.DataFrame([{**_summary_of(found, scored), "seconds": time.monotonic() - started}])
    of_cell = {"representation": table.name, "model": name}
    return found.assign(**of_cell), scored.assign(**of_cell), summary.assign(**of_cell)


def _summary_of(predictions: pd.DataFrame, metrics: pd.DataFrame) -> dict[str, float]:
    from ms2img.ms2toimg.summarise import mean_and_sd, pooled_auc

    pooled = pooled_auc(predictions)
    return {"auc_pooled": pooled.auc, "auc_low": pooled.low, "auc_high": pooled.high, **mean_and_sd(metrics)}


def _described(
    config: BaselinesConfig, cohort: BaselineCohort, table: Representation
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from ms2img.ms2toimg.baselines.models import default_preprocessing
    from ms2img.ms2toimg.baselines.multivariate import describe

    found = describe(
        table.rows,
        cohort.labels,
        preprocessing=default_preprocessing("oplsda", scale=config.scale),
        permutations=config.permutations,
        seed=config.seed,
    )
    return found.summary.assign(representation=table.name), found.scores.assign(representation=table.name)


def _stacked(tables: Sequence[pd.DataFrame], first: Sequence[str]) -> pd.DataFrame:
    """The tables one below the other, the columns `first` first; where there is no table, these columns."""
    import pandas as pd

    stacked = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(first))
    return stacked[[*first, *(name for name in stacked.columns if name not in first)]]


def _first_line(error: ValueError) -> str:
    return str(error).strip().partition("\n")[0]


def _write(out: Folder, config: BaselinesConfig, cohort: BaselineCohort, results: BaselineResults) -> None:
    """Write the tables, the runs that could not be read, and the config, last. Each file appears at once.

    What an earlier command left and this one has not is deleted.
    """
    from ms2img.io.dataset.failures import ERRORS_NAME, write_failures

    write_tables(out, results)
    if config.memo:
        write_failures(out, cohort.errors)
    out.delete([*([] if config.memo else [ERRORS_NAME]), *([FAILURES] if results.failures.empty else [])])
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
    texts = {METRICS: results.metrics, SUMMARY: results.summary, MULTIVARIATE: multivariate}
    if not results.failures.empty:
        texts[FAILURES] = results.failures
    for name, table in texts.items():
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
