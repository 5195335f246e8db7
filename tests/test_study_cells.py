"""A fold of a cell: equal to the model alone, tested under a condition on held-out accessions only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from ms2img.io.storage import folder
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.splits import stratified_group_folds
from ms2img.ms2toimg.baselines.models import make_baseline
from ms2img.ms2toimg.cnn import CnnConfig
from ms2img.ms2toimg.crossvalidate import FoldTask, run_fold
from pipelines.study.cell import ConditionRows, FoldOutcome, preprocessing_of, run_baseline_fold, run_network_fold
from pipelines.study.ledger import StudyLedger, key_of

N = 36
GROUPS = np.array([f"a{row // 2:02}" for row in range(N)])
TARGET = np.array([row // 2 % 2 for row in range(N)])
CNN = CnnConfig(conv_layers=1, filters=4, dense_layers=1, units=8)
FIT = FitConfig(epochs=3, batch_size=8, learning_rate=1e-2, threads=1, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    draw = np.random.default_rng(3)
    return np.clip(draw.normal(90, 40, (N, 15, 14)) + 40 * TARGET[:, None, None], 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def task() -> FoldTask:
    return FoldTask(stratified_group_folds(TARGET, GROUPS, 3, seed=0)[1], CNN, replace(FIT, seed=11))


def conditions(images: np.ndarray) -> dict[str, ConditionRows]:
    """The same runs in another order, and images of nothing of some accessions, one of which was never labelled."""
    return {
        "same": ConditionRows(images[::-1], GROUPS[::-1]),
        "dark": ConditionRows(np.zeros((4, *images.shape[1:]), np.uint8), np.array(["a00", "a01", "a02", "stranger"])),
    }


def test_a_network_fold_is_that_of_train_and_conditions_hold_out_the_same_accessions(images, task):
    outcome = run_network_fold(images, TARGET, task, GROUPS, conditions(images))
    alone, _ = run_fold(images, TARGET, task)
    assert outcome.probability[""] == alone.probability.tolist()
    assert outcome.rows[""] == task.fold.test.tolist()
    assert outcome.history == alone.history
    assert outcome.best_epoch == alone.best_epoch
    held_out = set(GROUPS[task.fold.test])
    assert {GROUPS[::-1][row] for row in outcome.rows["same"]} == held_out
    as_trained = dict(zip(task.fold.test, alone.probability, strict=True))
    same = {N - 1 - row: p for row, p in zip(outcome.rows["same"], outcome.probability["same"], strict=True)}
    assert same == pytest.approx(as_trained, abs=1e-6)
    named = ["a00", "a01", "a02", "stranger"]
    assert [named[row] for row in outcome.rows["dark"]] == [name for name in named if name in held_out]


def test_a_pixel_forest_is_scikit_learns(images, task):
    model = make_baseline("forest", seed=5, preprocessing=preprocessing_of("image", "forest"))
    joined = replace(task, fold=replace(task.fold, train=np.sort([*task.fold.train, *task.fold.validation])))
    outcome = run_baseline_fold(images, TARGET, joined, model, GROUPS, conditions(images))
    flat = images.reshape(N, -1) / 255
    forest = RandomForestClassifier(random_state=5).fit(flat[joined.fold.train], TARGET[joined.fold.train])
    assert outcome.probability[""] == forest.predict_proba(flat[task.fold.test])[:, 1].tolist()
    assert outcome.probability["same"] == outcome.probability[""][::-1]
    assert outcome.history == []


def test_a_condition_without_held_out_accessions_is_left_out_of_the_fold(images, task):
    absent = sorted(set(GROUPS) - set(GROUPS[task.fold.test]))[0]
    tested = {"elsewhere": ConditionRows(images[:1], np.array([absent]))}
    model = make_baseline("forest", seed=5, preprocessing=preprocessing_of("image", "forest"))
    for found in (
        run_baseline_fold(images, TARGET, task, model, GROUPS, tested),
        run_network_fold(images, TARGET, task, GROUPS, tested),
    ):
        assert set(found.rows) == set(found.probability) == {""}


def outcome(fold: int = 0, value: float = 0.25) -> FoldOutcome:
    return FoldOutcome(fold, {"": [1, 2]}, {"": [value, 0.5]}, [], 0, 1.5)


def test_the_ledger_gives_back_what_it_was_given_under_the_same_key_only(tmp_path):
    ledger = StudyLedger(folder(str(tmp_path)))
    key = key_of({"labels": "x", "seed": 1})
    assert ledger.fold("cell", 0, key) is None
    ledger.write_fold("cell", outcome(), key)
    found = ledger.fold("cell", 0, key)
    assert found is not None
    assert vars(found) == vars(outcome())
    assert ledger.fold("cell", 1, key) is None
    assert ledger.fold("cell", 0, key_of({"labels": "x", "seed": 2})) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "KEY", "outcome": {"fold": 0}}', "NAN"])
def test_a_damaged_fold_is_told_once_and_does_not_count(tmp_path, damage):
    notes: list[str] = []
    ledger = StudyLedger(folder(str(tmp_path)), notes.append)
    ledger.write_fold("cell", outcome(value=float("nan") if damage == "NAN" else 0.25), "KEY")
    if damage != "NAN":
        (tmp_path / "cells/cell/fold0.json").write_text(damage)
    assert ledger.fold("cell", 0, "KEY") is None
    assert ledger.fold("cell", 0, "KEY") is None
    assert notes == [f"{tmp_path}: cells/cell/fold0.json is damaged; it is computed again"]


def test_a_failure_counts_until_the_cell_is_done(tmp_path):
    ledger = StudyLedger(folder(str(tmp_path)))
    ledger.write_failure("cell", "fold 1: diverged", "KEY")
    assert ledger.failure("cell", "KEY") == "fold 1: diverged"
    assert ledger.failure("cell", "OTHER") is None
    ledger.clear_failure("cell")
    assert ledger.failure("cell", "KEY") is None
