"""Cross-validation of the baselines: the same folds, samples and metrics as the network's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ms2img.errors import UsageError
from ms2img.learn.splits import Fold, kept, stratified_group_folds
from ms2img.ms2toimg.baselines.models import Baseline, make_baseline
from ms2img.ms2toimg.baselines.preprocessing import Matrix, Preprocessing
from ms2img.ms2toimg.labels import Labels
from ms2img.ms2toimg.record import PREDICTIONS
from ms2img.ms2toimg.record_folder import typed


def baseline_folds(labels: Labels, n_folds: int, *, seed: int) -> list[Fold]:
    """The folds that `ms2img.ms2toimg.crossvalidate.plan_folds` cuts at this seed: equal test parts for every model.

    Raises `UsageError`, with the counts, when a fold would have one class.
    """
    try:
        return stratified_group_folds(labels.target, np.array(labels.accessions), n_folds, seed=seed)
    except UsageError as error:
        raise UsageError(f"assay '{labels.config.assay}': {error}") from None


def shared_folds(labelled: Labels, labels: Labels, n_folds: int, *, seed: int) -> list[Fold]:
    """The folds of all runs that are labelled, with the rows that `labels` has: what is missing moves no other run.

    Row numbers are those of `labels`, whose runs are among those of `labelled`. Raises `UsageError` as
    `baseline_folds` does, and when what is missing leaves a fold one class to be trained on, or nothing to be tested.
    """
    there = set(labels.sample_ids)
    rows = np.flatnonzero([sample in there for sample in labelled.sample_ids])
    folds = [kept(fold, rows) for fold in baseline_folds(labelled, n_folds, seed=seed)]
    for fold in folds:
        if len(np.unique(labels.target[training_rows(fold)])) < 2 or not fold.test.size:
            n = len(labelled.sample_ids)
            raise UsageError(
                f"assay '{labels.config.assay}': fold {fold.index + 1} of {n_folds} is left with one class to train on "
                f"or no run to test: {n - len(rows)} of {n} labelled runs are missing from some table; "
                "see its errors.parquet, or use fewer --folds"
            )
    return folds


def training_rows(fold: Fold) -> np.ndarray:
    """What a model without a validation part is fitted on: training and validation rows, ascending."""
    return np.sort(np.concatenate([fold.train, fold.validation]))


def fit_fold(
    name: str, rows: Matrix, labels: Labels, fold: Fold, *, seed: int, preprocessing: Preprocessing | None = None
) -> Baseline:
    """A baseline fitted on the training rows of one fold; `rows` [n, f] in the order of the labels."""
    train = training_rows(fold)
    groups = np.array(labels.accessions)[train]
    model = make_baseline(name, seed=seed, preprocessing=preprocessing)
    return model.fit(rows[train], labels.target[train], groups=groups)


def fold_table(labels: Labels, fold: Fold, probability: np.ndarray) -> pd.DataFrame:
    """The test rows of one fold with `probability` [len(fold.test)] of being active, columns `PREDICTIONS`."""
    test = fold.test
    return typed(
        pd.DataFrame(
            {
                "sample_id": [labels.sample_ids[row] for row in test],
                "accession": [labels.accessions[row] for row in test],
                "fold": fold.index,
                "value": labels.value[test],
                "scaled": labels.scaled[test],
                "target": labels.target[test],
                "probability": probability,
            }
        ),
        PREDICTIONS,
    )


def out_of_fold(
    name: str,
    rows: Matrix,
    labels: Labels,
    folds: Sequence[Fold],
    *,
    seed: int,
    preprocessing: Preprocessing | None = None,
) -> pd.DataFrame:
    """Predictions of every labelled run by the fold that was not trained on its accession, columns `PREDICTIONS`."""
    return pd.concat(
        [
            fold_table(
                labels,
                fold,
                fit_fold(name, rows, labels, fold, seed=seed, preprocessing=preprocessing).probability(rows[fold.test]),
            )
            for fold in folds
        ],
        ignore_index=True,
    )
