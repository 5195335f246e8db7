"""From the results of all folds to the record of the cross-validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ms2img.learn.metrics import AucInterval, binary_metrics, bootstrap_auc
from ms2img.ms2toimg.crossvalidate import FoldResult, FoldTask
from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.record import HISTORY, METRICS, PREDICTIONS, UNUSED, CvRecord
from ms2img.ms2toimg.record_folder import typed

THRESHOLD = 0.5  # probability from which a run or accession counts as active: the sigmoid's middle
LEVELS = ("accession", "run")  # the first one is the headline
EXAMPLES_A_CLASS = 2  # pictures of Figure 1 for each class (ours)


def summarise(
    labels: Labels,
    images: np.ndarray,
    tasks: Sequence[FoldTask],
    results: Sequence[FoldResult],
    *,
    refit: FoldResult | None = None,
    refit_epochs: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> CvRecord:
    """The record of a cross-validation.

    Parameters
    ----------
    labels, images: what was learned from, images uint8 [n, H, W] in the order of the labels.
    tasks, results: of the folds, in the same order.
    refit: the final training's result, scored on the rows between the classes; `refit_epochs`, how long it ran.
    about: further entries of the summary (config, data set, versions, ...).

    ``auc_mean`` and ``auc_sd`` of the summary are per accession; each metric is there as ``<level>_<metric>_mean``
    and ``_sd``, over the folds in which it is defined; sd is the sample standard deviation (n - 1). ``auc_pooled`` is
    the AUC per accession over the predictions of all folds at once, ``auc_low`` and ``auc_high`` the ends of its 95 %
    interval over resampled accessions.
    """
    predictions = pd.concat(
        [fold_predictions(labels, task, result) for task, result in zip(tasks, results, strict=True)], ignore_index=True
    )
    metrics = fold_metrics(predictions)
    history = pd.concat([fold_history(result) for result in results], ignore_index=True)
    examples = example_rows(labels)
    spread, pooled = mean_and_sd(metrics), pooled_auc(predictions)
    summary = {
        **(about or {}),
        "label": {**labels.config.model_dump(), "value_min": labels.value_min, "value_max": labels.value_max},
        "cnn": tasks[0].cnn.to_dict(),
        "threshold": THRESHOLD,
        "folds": len(tasks),
        "best_epochs": [result.best_epoch for result in results],
        "fold_seconds": [result.seconds for result in results],
        "precision": results[0].precision,
        "refit_epochs": refit_epochs,
        "counts": _counts(labels),
        "without_image": list(labels.without_image),
        "examples": {labels.sample_ids[row]: _described(labels, row) for row in examples},
        "auc_mean": spread[f"{LEVELS[0]}_roc_auc_mean"],
        "auc_sd": spread[f"{LEVELS[0]}_roc_auc_sd"],
        "auc_pooled": pooled.auc,
        "auc_low": pooled.low,
        "auc_high": pooled.high,
        **spread,
    }
    return CvRecord(
        predictions=predictions,
        history=history,
        metrics=metrics,
        unused=_unused(labels, refit),
        summary=summary,
        examples={labels.sample_ids[row]: images[row] for row in examples},
    )


def fold_metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """Metrics of each fold at each level, columns `METRICS`; an accession's probability is the mean of its runs'."""
    rows = []
    for fold, of_fold in predictions.groupby("fold"):
        by_level = {"accession": _of_accessions(of_fold), "run": of_fold}
        for level in LEVELS:
            scored = by_level[level]
            found = binary_metrics(scored["target"].to_numpy(), scored["probability"].to_numpy(), THRESHOLD)
            rows.append({"fold": fold, "level": level, **found.to_dict()})
    return typed(pd.DataFrame(rows), METRICS)


def pooled_auc(predictions: pd.DataFrame, *, seed: int = 0) -> AucInterval:
    """AUC over the accessions of all folds at once, with its interval; an accession's probability is as above.

    Unlike the mean of the folds' AUCs it also compares accessions scored by different networks.
    """
    scored = _of_accessions(predictions)
    return bootstrap_auc(scored["target"].to_numpy(), scored["probability"].to_numpy(), seed=seed)


def _of_accessions(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.groupby("accession").agg({"target": "first", "probability": "mean"})


def mean_and_sd(metrics: pd.DataFrame) -> dict[str, float]:
    """``<level>_<metric>_mean`` and ``_sd`` over the folds in which the metric is defined; NaN where there are none."""
    spread = {}
    for level in LEVELS:
        of_level = metrics[metrics["level"] == level]
        for name in METRICS:
            if name in ("fold", "level", "n"):
                continue
            defined = of_level[name].to_numpy(dtype=np.float64)
            defined = defined[np.isfinite(defined)]
            spread[f"{level}_{name}_mean"] = float(defined.mean()) if defined.size else math.nan
            spread[f"{level}_{name}_sd"] = float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    return spread


def example_rows(labels: Labels) -> list[int]:
    """Rows for Figure 1: the first run of the highest and of the lowest accessions, each from its own class."""
    first_run: dict[str, int] = {}
    for row, accession in enumerate(labels.accessions):
        first_run.setdefault(accession, row)
    labelled = [row for row in first_run.values() if labels.target[row] >= 0]
    rising = sorted(labelled, key=lambda row: (labels.scaled[row], labels.accessions[row]))
    low = [row for row in rising if labels.target[row] == labels.target[rising[0]]]
    high = [row for row in reversed(rising) if labels.target[row] == labels.target[rising[-1]]]
    return high[:EXAMPLES_A_CLASS] + low[:EXAMPLES_A_CLASS]


def fold_predictions(labels: Labels, task: FoldTask, result: FoldResult) -> pd.DataFrame:
    """The fold's test rows with their probabilities, columns `PREDICTIONS`."""
    rows = task.fold.test
    table = {**_table(labels, rows), "fold": result.fold, "target": labels.target[rows]}
    return typed(pd.DataFrame({**table, "probability": result.probability}), PREDICTIONS)


def _unused(labels: Labels, refit: FoldResult | None) -> pd.DataFrame:
    rows = np.flatnonzero(labels.target < 0) if refit is not None else np.empty(0, dtype=np.int64)
    probability = refit.probability if refit is not None else np.empty(0)
    return typed(pd.DataFrame({**_table(labels, rows), "probability": probability}), UNUSED)


def _table(labels: Labels, rows: np.ndarray) -> dict[str, Any]:
    return {
        "sample_id": [labels.sample_ids[row] for row in rows],
        "accession": [labels.accessions[row] for row in rows],
        "value": labels.value[rows],
        "scaled": labels.scaled[rows],
    }


def fold_history(result: FoldResult) -> pd.DataFrame:
    """A row an epoch of the fold, columns `HISTORY`."""
    # A fold without a validation part has no validation columns: NaN.
    table = pd.DataFrame(result.history).reindex(columns=list(HISTORY)).assign(fold=result.fold)
    return typed(table.assign(is_best=table["epoch"] == result.best_epoch), HISTORY)


def _counts(labels: Labels) -> dict[str, int]:
    accessions = np.array(labels.accessions, dtype=object)
    counts = {"without_image": len(labels.without_image)}
    for name, value in (("active", 1), ("inactive", 0), ("between", -1)):
        counts[f"{name}_runs"] = int(np.sum(labels.target == value))
        counts[f"{name}_accessions"] = len(set(accessions[labels.target == value]))
    return counts


def _described(labels: Labels, row: int) -> dict[str, Any]:
    return {
        "accession": labels.accessions[row],
        "value": float(labels.value[row]),
        "target": int(labels.target[row]),
    }
