"""From folds to the record and back: hand-computed metrics, exact numbers after a round trip, damage told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn
from ms2img.ms2toimg.crossvalidate import (
    FoldResult,
    FoldTask,
    folds_fingerprint,
    plan_folds,
    plan_refit,
    result_from_json,
    result_to_json,
    run_fold,
)
from ms2img.ms2toimg.labels import LabelConfig, Labels
from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.summarise import summarise

TINY = CnnConfig(filters=3, dense_layers=1, units=8)
FIT = FitConfig(epochs=3, batch_size=8, learning_rate=3e-3, threads=1, precision="float32", device="cpu")


def labels_of(scaled: list[float], replicates: int) -> Labels:
    """An accession a value, each with so many runs; classes below 0.4 and above 0.6."""
    per_run = np.repeat(np.array(scaled), replicates)
    names = [f"acc{index:02d}" for index in range(len(scaled)) for _ in range(replicates)]
    target = np.where(per_run < 0.4, 0, np.where(per_run > 0.6, 1, -1)).astype(np.int8)
    return Labels(
        config=LabelConfig(assay="dpph"),
        sample_ids=tuple(f"{name}/run-{index % replicates}" for index, name in enumerate(names)),
        accessions=tuple(names),
        value=10 + 20 * per_run,
        scaled=per_run,
        target=target,
        value_min=10.0,
        value_max=30.0,
        without_image=("lost",),
    )


@pytest.fixture(scope="module")
def labels() -> Labels:
    return labels_of([0.0, 0.1, 0.2, 0.3, 0.35, 0.5, 0.55, 0.65, 0.7, 0.8, 0.9, 1.0], replicates=2)


@pytest.fixture(scope="module")
def images(labels: Labels) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (len(labels.target), 12, 11)).astype(np.uint8)


@pytest.fixture(scope="module")
def record(labels: Labels, images: np.ndarray) -> CvRecord:
    tasks = plan_folds(labels, 2, TINY, FIT)
    results = [run_fold(images, labels.target, task)[0] for task in tasks]
    task = plan_refit(labels, results, TINY, FIT)
    refit, _ = run_fold(images, labels.target, task)
    about = {"preset": "tiny", "nothing": math.nan, "size": (12, 11), "count": np.int64(3)}
    return summarise(labels, images, tasks, results, refit=refit, refit_epochs=task.fit.epochs, about=about)


def test_every_labelled_run_is_predicted_once_by_a_fold_without_its_accession(labels: Labels, record: CvRecord) -> None:
    used = [sample for sample, target in zip(labels.sample_ids, labels.target, strict=True) if target >= 0]
    assert sorted(record.predictions["sample_id"]) == sorted(used)
    assert all(len(set(folds)) == 1 for _, folds in record.predictions.groupby("accession")["fold"])
    row = record.predictions.set_index("sample_id").loc["acc09/run-1"]
    assert (row["accession"], row["value"], row["scaled"], row["target"]) == ("acc09", 26.0, 0.8, 1)
    assert set(record.unused["accession"]) == {"acc05", "acc06"}
    assert record.unused["probability"].between(0, 1).all()


def test_out_of_fold_probabilities_are_those_of_the_fold_s_own_weights(labels: Labels, images: np.ndarray) -> None:
    """Of the epoch that was kept, not of the last one: on noise the two differ."""
    task = plan_folds(labels, 2, TINY, replace(FIT, epochs=15, learning_rate=0.01))[1]
    result, weights = run_fold(images, labels.target, task)
    assert result.best_epoch < 15
    network = build_cnn(TINY, 12, 11)
    network.load_state_dict(weights)
    with torch.inference_mode():
        x = torch.tensor(images[task.fold.test][:, None] / 255, dtype=torch.float32)
        expected = torch.sigmoid(network.eval()(x)).numpy()
    np.testing.assert_allclose(result.probability, expected, atol=1e-6)


def test_metrics_by_hand() -> None:
    """Four accessions of two runs, one fold. Means: .75, .35 (positives); .45, .25 (negatives)."""
    labels = labels_of([0.9, 1.0, 0.0, 0.1], replicates=2)
    rows = np.arange(8)
    fold = Fold(0, train=rows[:0], validation=rows[:0], test=rows)
    probability = np.array([0.9, 0.6, 0.1, 0.6, 0.7, 0.2, 0.3, 0.2])
    history = [
        {"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5, "validation_auc": 0.5}
    ]
    result = FoldResult(0, probability, history, best_epoch=1, seconds=1.0, precision="float32")
    images = np.zeros((8, 4, 4), dtype=np.uint8)
    record = summarise(labels, images, [FoldTask(fold, TINY, FIT)], [result])
    by_level = record.metrics.set_index("level")
    accession, run = by_level.loc["accession"], by_level.loc["run"]
    assert (accession["tp"], accession["fn"], accession["fp"], accession["tn"]) == (1, 1, 0, 2)
    assert accession["roc_auc"] == 0.75  # 3 of 4 pairs
    assert accession["accuracy"] == 0.75
    assert (run["tp"], run["fn"], run["fp"], run["tn"]) == (3, 1, 1, 3)
    # .9 outranks 4; .6 outranks .2, .3, .2, twice; .1 none: 4 + 3 + 3 + 0 of 16
    assert run["roc_auc"] == 10 / 16
    assert record.summary["auc_mean"] == 0.75
    assert math.isnan(record.summary["auc_sd"])  # one fold has no spread
    assert record.summary["auc_pooled"] == 0.75
    assert (record.summary["auc_low"], record.summary["auc_high"]) == (0, 1)  # what four accessions can tell
    assert len(record.unused) == 0


def test_means_and_spreads_over_folds(record: CvRecord) -> None:
    of_accessions = record.metrics[record.metrics["level"] == "accession"]
    assert record.summary["auc_mean"] == pytest.approx(of_accessions["roc_auc"].mean())
    assert record.summary["auc_sd"] == pytest.approx(of_accessions["roc_auc"].std())  # pandas divides by n - 1
    assert record.summary["run_tp_mean"] == pytest.approx(record.metrics.query("level == 'run'")["tp"].mean())
    assert record.summary["counts"] == {
        "without_image": 1, "active_runs": 10, "active_accessions": 5, "inactive_runs": 10, "inactive_accessions": 5,
        "between_runs": 4, "between_accessions": 2,
    }  # fmt: skip


def test_pooled_auc_and_its_interval_are_over_the_accessions_of_all_folds(record: CvRecord) -> None:
    accessions = record.predictions.groupby("accession")[["target", "probability"]].mean()
    assert len(accessions) == 10
    target, probability = accessions["target"].to_numpy(), accessions["probability"].to_numpy()
    assert record.summary["auc_pooled"] == pytest.approx(roc_auc_score(target, probability))
    rng = np.random.default_rng(1)
    drawn = (rng.integers(0, 10, 10) for _ in range(2000))
    aucs = [roc_auc_score(target[rows], probability[rows]) for rows in drawn if 0 < target[rows].sum() < 10]
    found = [record.summary["auc_low"], record.summary["auc_high"]]
    np.testing.assert_allclose(found, np.quantile(aucs, [0.025, 0.975]), atol=0.05)


def test_history_marks_the_epoch_that_was_kept(record: CvRecord) -> None:
    best = record.history[record.history["is_best"]].set_index("fold")
    assert best["epoch"].to_dict() == dict(enumerate(record.summary["best_epochs"]))
    for fold, rows in record.history.groupby("fold"):
        assert best.loc[fold, "validation_loss"] == rows["validation_loss"].min()


def test_examples_are_the_extremes_of_both_classes(labels: Labels, images: np.ndarray, record: CvRecord) -> None:
    assert list(record.examples) == ["acc11/run-0", "acc10/run-0", "acc00/run-0", "acc01/run-0"]
    assert record.summary["examples"]["acc11/run-0"] == {"accession": "acc11", "value": 30.0, "target": 1}
    np.testing.assert_array_equal(record.examples["acc00/run-0"], images[0])


def test_refit_learns_all_labelled_rows_for_the_median_best_epoch(labels: Labels) -> None:
    results = [FoldResult(i, np.empty(0), [], best, 1.0, "float32") for i, best in enumerate([3, 60, 5, 7, 80])]
    task = plan_refit(labels, results, TINY, replace(FIT, epochs=80, patience=4))
    assert (task.fit.epochs, task.fit.patience, task.keep_weights) == (7, None, True)
    assert task.fold.train.tolist() == np.flatnonzero(labels.target >= 0).tolist()
    assert task.fold.validation.size == 0
    assert set(np.array(labels.accessions)[task.fold.test]) == {"acc05", "acc06"}


def test_plans_depend_on_the_seed_and_name_the_assay(labels: Labels) -> None:
    first, second = plan_folds(labels, 2, TINY, FIT), plan_folds(labels, 2, TINY, replace(FIT, seed=1))
    assert len({task.fit.seed for task in [*first, *second]}) == 4
    assert folds_fingerprint(labels, first) == folds_fingerprint(labels, plan_folds(labels, 2, CnnConfig(), FIT))
    assert folds_fingerprint(labels, first) != folds_fingerprint(labels, second)
    with pytest.raises(UsageError, match="assay 'dpph': --folds 6: 5 active and 5 inactive"):
        plan_folds(labels, 6, TINY, FIT)


def test_without_validation_a_fold_trains_on_what_would_choose_its_epoch(labels: Labels, images: np.ndarray) -> None:
    fit = replace(FIT, epochs=2, keep="last")
    tasks, apart = plan_folds(labels, 2, TINY, fit, validation=False), plan_folds(labels, 2, TINY, fit)
    for task, other in zip(tasks, apart, strict=True):
        assert task.fold.validation.size == 0
        assert task.fold.train.tolist() == sorted([*other.fold.train, *other.fold.validation])
        assert task.fold.test.tolist() == other.fold.test.tolist()
        assert task.fit == other.fit
    results = [run_fold(images, labels.target, task)[0] for task in tasks]
    record = summarise(labels, images, tasks, results)
    assert record.history["validation_loss"].isna().all()
    assert record.history.loc[record.history["is_best"], "epoch"].tolist() == [2, 2]
    assert plan_refit(labels, results, TINY, fit).fit.epochs == 2


def test_round_trip(record: CvRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "record")
    found = CvRecord.load(tmp_path / "record")
    for name in ("predictions", "history", "metrics", "unused"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(record, name))
    assert found.summary["nothing"] is None
    assert found.summary["size"] == [12, 11]
    assert found.summary["auc_mean"] == record.summary["auc_mean"]
    assert found.examples.keys() == record.examples.keys()
    for name, image in record.examples.items():
        np.testing.assert_array_equal(found.examples[name], image)
        assert found.examples[name].dtype == np.uint8


def test_results_travel_exactly() -> None:
    result = FoldResult(2, np.array([1 / 3, 1e-300, 1.0]), [{"epoch": 1, "train_loss": 0.1}], 1, 2.5, "bfloat16")
    back = result_from_json(result_to_json(result))
    np.testing.assert_array_equal(back.probability, result.probability)
    assert {**vars(back), "probability": 0} == {**vars(result), "probability": 0}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("summary.json", "expected the record of a finished 'ms2img train'"),
        ("metrics.parquet", "metrics.parquet: not part of a cross-validation record"),
        ("examples.npz", "examples.npz: not part of a cross-validation record"),
    ],
)
def test_a_missing_or_damaged_file_is_named(record: CvRecord, name: str, told: str, tmp_path: Path) -> None:
    record.save(tmp_path)
    if name != "summary.json":
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(UsageError, match=told):
            CvRecord.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=told):
        CvRecord.load(tmp_path)


def test_examples_are_no_pickle(record: CvRecord, tmp_path: Path) -> None:
    record.save(tmp_path)
    np.savez(tmp_path / "examples.npz", names=np.array(["a"]), images=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(UsageError, match="examples.npz: not part of a cross-validation record: Object arrays"):
        CvRecord.load(tmp_path)
