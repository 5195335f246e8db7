"""The record of a sweep: hand-computed numbers, all three rules side by side, exact after a round trip, damage told."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sweep_samples import fold_result, sweep_labels, sweep_tasks, trial_result

from ms2img.errors import JobError, UsageError
from ms2img.ms2toimg.record import CvRecord
from tune.record import HISTORY, PREDICTIONS, TRIALS, SweepRecord, nested_record, sweep_record
from tune.trial import TrialResult

LABELS = sweep_labels()
TASKS = sweep_tasks(LABELS, 4)
ABOUT = {"space": {"name": "paper"}, "seed": 0, "epochs": 3, "searcher": "random", "scheduler": "fifo"}


def finished(number: int, validation: list[float], seed: int, *, skill: float) -> TrialResult:
    """Probabilities that lean towards the truth by `skill`."""
    rng = np.random.default_rng(seed)
    folds = [
        fold_result(
            task,
            validation[index],
            probability=np.clip(
                0.5 + skill * (LABELS.target[task.fold.test] - 0.5) + rng.normal(0, 0.2, len(task.fold.test)),
                0.01,
                0.99,
            ),
        )
        for index, task in enumerate(TASKS)
    ]
    return trial_result(number, folds)


@pytest.fixture(scope="module")
def results() -> list[TrialResult]:
    stopped = [fold_result(task, 0.9, probability=np.empty(0), epochs=2) for task in TASKS]
    return [
        trial_result(3, stopped, status="stopped", reason="the scheduler, at epoch 2"),
        finished(0, [0.9, 0.5, 0.5, 0.5], 0, skill=0.1),
        trial_result(2, [], status="failed", reason="killed three times"),
        finished(1, [0.7, 0.7, 0.7, 0.8], 1, skill=0.3),
        finished(4, [0.6, 0.6, 0.6, 0.6], 2, skill=0.9),
    ]


@pytest.fixture(scope="module")
def record(results: list[TrialResult]) -> SweepRecord:
    return sweep_record(LABELS, TASKS, results, ABOUT)


def by_accession(result: TrialResult, fold: int) -> tuple[list[int], list[float]]:
    """Targets and mean probabilities, counted by hand."""
    held: dict[str, list[float]] = {}
    truth: dict[str, int] = {}
    for row, probability in zip(TASKS[fold].fold.test, result.folds[fold].probability, strict=True):
        held.setdefault(LABELS.accessions[row], []).append(probability)
        truth[LABELS.accessions[row]] = int(LABELS.target[row])
    return [truth[name] for name in held], [sum(each) / len(each) for each in held.values()]


def outer(trials: list[TrialResult]) -> dict[str, float]:
    """Mean and sd over the folds, fold k scored by ``trials[k]``."""
    accuracy, auc = [], []
    for fold, trial in enumerate(trials):
        target, probability = by_accession(trial, fold)
        accuracy.append(np.mean((np.array(probability) >= 0.5) == np.array(target)))
        auc.append(roc_auc_score(target, probability))
    return {
        "accuracy_mean": np.mean(accuracy),
        "accuracy_sd": np.std(accuracy, ddof=1),
        "roc_auc_mean": np.mean(auc),
        "roc_auc_sd": np.std(auc, ddof=1),
    }


def test_the_three_rules_stand_side_by_side(results: list[TrialResult], record: SweepRecord) -> None:
    of_number = {result.number: result for result in results}
    told = record.summary
    assert told["winner"]["trial"] == 1
    assert told["paper_rule"]["trial"] == 4
    assert told["nested"]["trials"] == [0, 1, 1, 1]
    for rule, trials in (("winner", [1] * 4), ("paper_rule", [4] * 4), ("nested", [0, 1, 1, 1])):
        expected = outer([of_number[number] for number in trials])
        assert {name: told[rule][name] for name in expected} == pytest.approx(expected), rule
    assert told["winner"]["validation_accuracy"] == pytest.approx(0.725)
    assert told["winner"]["values"] == told["winner"]["values"] | {"units": 2}
    assert told["paper_rule"]["accuracy_mean"] > told["nested"]["accuracy_mean"]  # the optimism


def test_the_summary_counts_what_was_done(record: SweepRecord) -> None:
    told = record.summary
    assert told["counts"] == {"finished": 3, "stopped": 1, "failed": 1}
    assert (told["trials"], told["folds"]) == (5, 4)
    assert told["epochs_trained"] == 3 * 4 * 3 + 4 * 2
    assert told["epochs_full"] == 5 * 4 * 3
    assert told["space"] == {"name": "paper"}
    assert told["nested"]["strict"] is True


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_stopping_early_makes_the_nested_figure_not_strict(results: list[TrialResult], scheduler: str) -> None:
    told = sweep_record(LABELS, TASKS, results, {**ABOUT, "scheduler": scheduler}).summary
    assert told["nested"]["strict"] is False


def test_the_trials_table_has_a_row_a_trial(results: list[TrialResult], record: SweepRecord) -> None:
    table = record.trials.set_index("trial")
    assert table.index.tolist() == [0, 1, 2, 3, 4]
    assert table["status"].tolist() == ["finished", "finished", "failed", "stopped", "finished"]
    assert table.loc[2, "reason"] == "killed three times"
    assert table["epochs"].tolist() == [12, 12, 0, 8, 12]
    assert table.loc[1, "validation_accuracy"] == pytest.approx(0.725)
    assert table.loc[3, "validation_accuracy"] == pytest.approx(0.9)
    assert math.isnan(table.loc[2, "validation_accuracy"])
    assert table.loc[[2, 3], ["accuracy", "roc_auc"]].isna().all(axis=None)
    of_four = outer([next(result for result in results if result.number == 4)] * 4)
    assert table.loc[4, ["accuracy", "roc_auc"]].tolist() == pytest.approx(
        [of_four["accuracy_mean"], of_four["roc_auc_mean"]]
    )
    assert json.loads(table.loc[1, "values"]) == {"units": 2}
    assert (table["ended"] - table["started"]).tolist() == [10.0] * 5


def test_histories_of_all_and_predictions_of_finished_trials(results: list[TrialResult], record: SweepRecord) -> None:
    assert record.history.groupby("trial").size().to_dict() == {0: 12, 1: 12, 3: 8, 4: 12}
    best = record.history[record.history["is_best"]]
    assert (best["epoch"] == 2).all()
    assert len(best) == 16
    assert record.predictions.groupby("trial").size().to_dict() == {0: 40, 1: 40, 4: 40}
    four = record.predictions[record.predictions["trial"] == 4].set_index("sample_id")
    for fold, task in enumerate(TASKS):
        rows = four[four["fold"] == fold]
        expected = dict(
            zip([LABELS.sample_ids[row] for row in task.fold.test], results[4].folds[fold].probability, strict=True)
        )
        assert rows["probability"].to_dict() == expected
        assert rows["target"].to_dict() == {LABELS.sample_ids[row]: int(LABELS.target[row]) for row in task.fold.test}


def test_a_record_is_the_same_after_a_round_trip(record: SweepRecord, tmp_path: Path) -> None:
    record.save(tmp_path / "sweep")
    again = SweepRecord.load(tmp_path / "sweep")
    for name, columns in (("trials", TRIALS), ("history", HISTORY), ("predictions", PREDICTIONS)):
        assert list(getattr(again, name).columns) == list(columns)
        pd.testing.assert_frame_equal(getattr(again, name), getattr(record, name))
    assert again.summary == json.loads(json.dumps(record.summary))


def test_damage_is_told_by_name(record: SweepRecord, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the record of a finished 'ms2img sweep'"):
        SweepRecord.load(tmp_path)
    record.save(tmp_path)
    (tmp_path / "history.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"history.parquet: not part of a sweep record"):
        SweepRecord.load(tmp_path)
    record.trials.drop(columns="reason").to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(UsageError, match=r"trials.parquet: not part of a sweep record: .*reason"):
        SweepRecord.load(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    record.trials.to_parquet(tmp_path / "trials.parquet")
    record.history.to_parquet(tmp_path / "history.parquet")
    with pytest.raises(UsageError, match=r"summary.json: not part of a sweep record"):
        SweepRecord.load(tmp_path)


def test_a_sweep_of_which_nothing_finished_has_no_record(results: list[TrialResult]) -> None:
    with pytest.raises(JobError, match="no trial finished"):
        sweep_record(LABELS, TASKS, [results[0], results[2]], ABOUT)


def test_the_nested_record_is_scored_by_each_folds_own_choice(results: list[TrialResult], tmp_path: Path) -> None:
    images = np.zeros((40, 12, 11), dtype=np.uint8)
    found = nested_record(LABELS, images, TASKS, results, about={"assay": "dpph", "simulated": True})
    of_number = {result.number: result for result in results}
    told = outer([of_number[number] for number in [0, 1, 1, 1]])
    assert found.summary["nested_trials"] == [0, 1, 1, 1]
    assert found.summary["accession_accuracy_mean"] == pytest.approx(told["accuracy_mean"])
    assert found.summary["auc_mean"] == pytest.approx(told["roc_auc_mean"])
    for fold, number in enumerate([0, 1, 1, 1]):
        of_fold = found.predictions[found.predictions["fold"] == fold]
        np.testing.assert_array_equal(of_fold["probability"], of_number[number].folds[fold].probability)
    found.save(tmp_path)
    assert CvRecord.load(tmp_path).summary["nested_trials"] == [0, 1, 1, 1]
