"""The baselines against scikit-learn's own pipelines in a plain loop, and what their preprocessing may see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.baselines import MODELS
from ms2img.ms2toimg.baselines.folds import baseline_folds, out_of_fold, shared_folds, training_rows
from ms2img.ms2toimg.baselines.models import (
    DEFAULTS,
    PIXELS,
    TAKES_SPARSE,
    WORDS,
    default_preprocessing,
    make_baseline,
    total_variance,
)
from ms2img.ms2toimg.baselines.preprocessing import Preprocessing, fit_preprocessing
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import plan_folds
from ms2img.ms2toimg.labels import LabelConfig, Labels
from ms2img.ms2toimg.summarise import fold_metrics, pooled_auc
from pipelines.baselines_config import BaselinesConfig

ACCESSIONS, REPLICATES, FEATURES = 24, 2, 40


def table(seed: int = 0) -> np.ndarray:
    """Amounts [runs, features]: a tenth to a half is absent, the active accessions have more of the first features."""
    rng = np.random.default_rng(seed)
    own = np.exp(rng.normal(size=(ACCESSIONS, FEATURES)))
    own[rng.random(own.shape) < rng.uniform(0.1, 0.5, FEATURES)] = 0
    own[::2, :6] *= 12
    runs = np.repeat(own, REPLICATES, axis=0) * np.exp(0.2 * rng.normal(size=(ACCESSIONS * REPLICATES, FEATURES)))
    return runs * np.exp(rng.normal(size=(len(runs), 1)))  # every run of another total


def without(labels: Labels, accessions: set[str], runs: set[str] = frozenset()) -> Labels:
    """The same without some accessions and some runs."""
    rows = [
        row
        for row, (accession, run) in enumerate(zip(labels.accessions, labels.sample_ids, strict=True))
        if accession not in accessions and run not in runs
    ]
    return replace(
        labels,
        sample_ids=tuple(labels.sample_ids[row] for row in rows),
        accessions=tuple(labels.accessions[row] for row in rows),
        value=labels.value[rows],
        scaled=labels.scaled[rows],
        target=labels.target[rows],
    )


def labels_of_table() -> Labels:
    """Even accessions are active, odd ones inactive, the last one lies between."""
    scaled = np.where(np.arange(ACCESSIONS) % 2 == 0, 0.9, 0.1)
    scaled[-1] = 0.5
    target = np.where(scaled > 0.6, 1, np.where(scaled < 0.4, 0, -1)).astype(np.int8)
    return Labels(
        config=LabelConfig(assay="activity"),
        sample_ids=tuple(f"run-{row:02d}" for row in range(ACCESSIONS * REPLICATES)),
        accessions=tuple(f"A{row // REPLICATES:02d}" for row in range(ACCESSIONS * REPLICATES)),
        value=np.repeat(10 * scaled, REPLICATES),
        scaled=np.repeat(scaled, REPLICATES),
        target=np.repeat(target, REPLICATES),
        value_min=0.0,
        value_max=10.0,
        without_image=(),
    )


def shares(train: np.ndarray) -> Pipeline:
    """Rows brought to the median total of the training rows, told without our code."""
    median = np.median(train.sum(axis=1))
    return FunctionTransformer(lambda rows: rows / rows.sum(axis=1, keepdims=True) * median)


def logarithms(train: np.ndarray) -> Pipeline:
    """Shares, half of the feature's smallest for 0, log10, unit variance (n - 1)."""
    of_train = shares(train).transform(train)
    half = np.array([column[column > 0].min() / 2 for column in of_train.T])
    factor = np.sqrt((len(train) - 1) / len(train))  # scikit-learn divides by n
    return make_pipeline(
        shares(train),
        FunctionTransformer(lambda rows: np.log10(np.where(rows > 0, rows, half))),
        StandardScaler(),
        FunctionTransformer(lambda rows: rows * factor),
    )


def expected(name: str, train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What scikit-learn alone makes of a fold."""
    if name == "forest":
        model = make_pipeline(shares(train), RandomForestClassifier(random_state=3))
    elif name == "boosting":
        model = make_pipeline(shares(train), GradientBoostingClassifier(random_state=3, max_features="sqrt"))
    elif name == "logistic":
        spread = FEATURES * (len(train) - 1) / len(train)
        model = make_pipeline(logarithms(train), LogisticRegression(C=1 / spread, max_iter=1000))
    elif name == "pca":
        model = make_pipeline(logarithms(train), PCA(2), StandardScaler(), LogisticRegression())
    else:
        raise ValueError(name)
    return model.fit(train, target).predict_proba(test)[:, 1]


@pytest.mark.parametrize("name", ["forest", "logistic", "boosting", "pca"])
def test_out_of_fold_predictions_are_those_of_scikit_learn_in_a_plain_loop(name):
    rows, labels = table(), labels_of_table()
    found = out_of_fold(name, rows, labels, baseline_folds(labels, 4, seed=3), seed=3).set_index("sample_id")
    assert len(found) == (ACCESSIONS - 1) * REPLICATES  # the accession between the classes is nowhere
    for _, of_fold in found.groupby("fold"):
        test = np.isin(labels.accessions, of_fold["accession"])
        train = ~test & (labels.target >= 0)
        told = of_fold.loc[np.array(labels.sample_ids)[test], "probability"]
        np.testing.assert_allclose(told, expected(name, rows[train], labels.target[train], rows[test]), atol=1e-4)
    if name != "pca":  # which need not find the difference
        assert pooled_auc(found.reset_index()).auc > 0.8


def test_opls_da_predicts_as_scikit_learn_s_pls_behind_the_same_preprocessing():
    rows, labels = table(), labels_of_table()
    train, test = np.flatnonzero((labels.target >= 0) & (np.arange(48) < 36)), np.arange(36, 48)
    model = make_baseline("oplsda", seed=0).fit(rows[train], labels.target[train])
    prepared = logarithms(rows[train]).fit(rows[train])
    pls = PLSRegression(model.choice.orthogonal + 1, scale=False)
    pls.fit(prepared.transform(rows[train]), labels.target[train].astype(float))
    value = pls.predict(prepared.transform(rows[test])).ravel()
    np.testing.assert_allclose(model.probability(rows[test]), 1 / (1 + np.exp(-4 * (value - 0.5))), atol=1e-8)
    np.testing.assert_array_equal(model.probability(rows[test]) > 0.5, value > 0.5)  # the rule of ropls


def test_folds_are_those_of_the_network():
    labels = labels_of_table()
    ours = baseline_folds(labels, 5, seed=7)
    network = plan_folds(labels, 5, CnnConfig(), FitConfig(seed=7))
    for mine, task in zip(ours, network, strict=True):
        np.testing.assert_array_equal(mine.test, task.fold.test)
        np.testing.assert_array_equal(mine.train, task.fold.train)
    scored = fold_metrics(out_of_fold("forest", table(), labels, ours, seed=7))
    assert scored["n"].tolist() == [len(np.unique(mine.test)) // n for mine in ours for n in (REPLICATES, 1)]


def test_what_is_missing_moves_no_other_run_to_another_fold():
    everyone = labels_of_table()
    dealt = baseline_folds(everyone, 5, seed=7)
    for whole, same in zip(dealt, shared_folds(everyone, everyone, 5, seed=7), strict=True):
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(whole, part), getattr(same, part))
            assert getattr(whole, part).dtype == getattr(same, part).dtype
    fewer = without(everyone, {"A03", "A10"}, {"run-00"})
    of_part = [{}, {}]
    for place, labels, folds in ((0, everyone, dealt), (1, fewer, shared_folds(everyone, fewer, 5, seed=7))):
        for fold in folds:
            for part in ("train", "validation", "test"):
                for row in getattr(fold, part):
                    of_part[place][fold.index, labels.sample_ids[row]] = part
    gone = set(everyone.sample_ids) - set(fewer.sample_ids)
    assert of_part[1] == {key: part for key, part in of_part[0].items() if key[1] not in gone}
    alone = {(fold.index, fewer.sample_ids[row]) for fold in baseline_folds(fewer, 5, seed=7) for row in fold.test}
    assert alone != {key for key, part in of_part[1].items() if part == "test"}  # dealing anew does move others


def test_a_fold_that_is_left_with_one_class_is_refused():
    everyone = labels_of_table()
    first = baseline_folds(everyone, 4, seed=0)[0]
    trained = [row for row in training_rows(first) if everyone.target[row] == 1]
    gone = {everyone.accessions[row] for row in trained}
    with pytest.raises(UsageError, match=r"fold 1 of 4 is left with one class .* 18 of 48 labelled runs are missing"):
        shared_folds(everyone, without(everyone, gone), 4, seed=0)
    untested = {everyone.accessions[row] for row in first.test}
    with pytest.raises(UsageError, match="or no run to test"):
        shared_folds(everyone, without(everyone, untested), 4, seed=0)


@pytest.mark.parametrize("name", MODELS)
def test_equal_seeds_give_equal_numbers_and_rows_are_scored_one_by_one(name):
    rows, labels = table(1), labels_of_table()
    used = np.flatnonzero(labels.target >= 0)
    model = make_baseline(name, seed=1).fit(rows[used], labels.target[used])
    again = make_baseline(name, seed=1).fit(rows[used], labels.target[used])
    np.testing.assert_array_equal(model.probability(rows), again.probability(rows))
    alone = np.concatenate([model.probability(rows[[row]]) for row in range(5)])
    np.testing.assert_allclose(alone, model.probability(rows)[:5], atol=1e-12)
    if name in ("forest", "boosting"):
        other = make_baseline(name, seed=2).fit(rows[used], labels.target[used])
        assert (other.probability(rows) != model.probability(rows)).any()


@pytest.mark.parametrize("name", MODELS)
def test_columns_without_variation_and_absent_features_leave_numbers(name):
    rows, labels = table(), labels_of_table()
    used = np.flatnonzero(labels.target >= 0)
    rows[:, 5], rows[:, 6] = 0, 3.0
    rows[used, 7] = 0  # absent from all training rows, not from the test row
    rows[-1, 7] = 1e6
    rows[3] = 0  # a run without any feature
    rows[4, :10] = np.nan  # missing is absent
    model = make_baseline(name, seed=0).fit(rows[used], labels.target[used])
    found = model.probability(rows)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("name", ["forest", "logistic", "boosting"])
def test_counts_of_words_give_the_same_sparse_and_dense(name):
    rng = np.random.default_rng(4)
    words = rng.poisson(1.0, size=(48, 60)).astype(np.float64) * (rng.random((48, 60)) < 0.3)
    labels = labels_of_table()
    words[labels.target == 1, :5] += 2
    used = np.flatnonzero(labels.target >= 0)
    found = [
        make_baseline(name, seed=0, preprocessing=WORDS).fit(rows[used], labels.target[used]).probability(rows)
        for rows in (words, sp.csr_matrix(words))
    ]
    # The solver stops a little elsewhere; boosting breaks a tie between two splits in another order.
    np.testing.assert_allclose(found[0], found[1], atol=0.05 if name == "boosting" else 1e-3)
    assert total_variance(sp.csr_matrix(words)) == pytest.approx(total_variance(words))
    assert name in TAKES_SPARSE


def test_pixels_go_into_the_forest_as_they_are():
    """The yardstick of the results so far (bench.recipe): a forest on grey values / 255."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, size=(48, 6, 5), dtype=np.uint8).reshape(48, -1) / 255
    labels = labels_of_table()
    used = np.flatnonzero(labels.target >= 0)
    forest = RandomForestClassifier(random_state=9).fit(pixels[used], labels.target[used])
    found = make_baseline("forest", seed=9, preprocessing=PIXELS).fit(pixels[used], labels.target[used])
    np.testing.assert_array_equal(found.probability(pixels), forest.predict_proba(pixels)[:, 1])


def test_every_model_has_a_default_and_is_offered():
    assert tuple(BaselinesConfig.model_fields["models"].default) == MODELS
    assert set(DEFAULTS) == set(MODELS)
    assert default_preprocessing("oplsda", scale="pareto").scale == "pareto"
    assert default_preprocessing("forest", scale="pareto") == DEFAULTS["forest"]


def test_what_cannot_be_fitted_is_told():
    with pytest.raises(UsageError, match="no model 'svm'; expected one of forest"):
        make_baseline("svm", seed=0)
    with pytest.raises(ValueError, match="targets should be 0 and 1"):
        make_baseline("forest", seed=0).fit(table(), np.zeros(48))
    with pytest.raises(ValueError, match="fit the model first"):
        make_baseline("forest", seed=0).probability(table())
    with pytest.raises(ValueError, match="sparse matrix takes"):
        fit_preprocessing(DEFAULTS["oplsda"], sp.csr_matrix(table()))
    with pytest.raises(ValueError, match="negative or infinite"):
        fit_preprocessing(Preprocessing(), -table())
