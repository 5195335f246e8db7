"""Choosing a trial: by inner validation, per fold, and as the paper does; the optimism of the last one is measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from sweep_samples import fold_result, sweep_labels, sweep_tasks, trial_result

from ms2img.errors import JobError
from ms2img.learn.metrics import binary_metrics
from ms2img.ms2toimg.labels import Labels
from tune.choose import finished, nested, outer_score, papers_choice, scored, validation_score, winner
from tune.trial import TrialResult

LABELS = sweep_labels()
TASKS = sweep_tasks(LABELS)


def trial_of(number: int, accuracies: list[float], losses: list[float] | None = None, **more: object) -> TrialResult:
    """A trial with these inner validation scores; with `right`, so many of each fold's test accessions are right."""
    right = more.pop("right", None)
    folds = []
    for index, task in enumerate(TASKS):
        probability = None if right is None else correct_in(index, right[index])
        folds.append(fold_result(task, accuracies[index], losses[index] if losses else 0.5, probability=probability))
    return trial_result(number, folds, **more)


def correct_in(index: int, accessions: int) -> np.ndarray:
    """Probabilities of a fold's test rows that are right for its first `accessions` accessions alone."""
    rows = TASKS[index].fold.test
    place = {name: at for at, name in enumerate(dict.fromkeys(LABELS.accessions[row] for row in rows))}
    is_right = np.array([place[LABELS.accessions[row]] < accessions for row in rows])
    target = LABELS.target[rows]
    return np.where(is_right, 0.2 + 0.6 * target, 0.8 - 0.6 * target)


def test_the_score_of_a_fold_is_that_of_its_best_epoch() -> None:
    trial = trial_of(0, [0.5, 0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert validation_score(trial.folds[1]) == (0.6, 0.2)  # not the 1.0 of its other epochs
    assert scored(trial) == pytest.approx((0.7, 0.3))


def test_the_winner_has_the_best_inner_validation_whatever_the_outer_folds_say() -> None:
    poor = trial_of(0, [0.6] * 5, right=[4] * 5)
    good = trial_of(1, [0.7] * 5, right=[0] * 5)
    assert winner([poor, good]).number == 1
    assert papers_choice([poor, good], TASKS, LABELS) == 0


def test_ties_go_to_lower_loss_then_fewer_weights_then_lower_number() -> None:
    accuracies = [0.8, 0.6, 0.8, 0.6, 0.7]
    turned = [0.6, 0.8, 0.7, 0.6, 0.8]  # the same mean, but for the last binary digit of its sum
    assert winner([trial_of(0, accuracies, [0.5] * 5), trial_of(1, turned, [0.4] * 5)]).number == 1
    assert winner([trial_of(0, accuracies, n_weights=9), trial_of(1, turned, n_weights=8)]).number == 1
    assert winner([trial_of(1, accuracies), trial_of(0, turned)]).number == 0


def test_means_that_differ_by_rounding_alone_are_a_tie() -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.3, in floating point."""
    first = [0.1, 0.2, 0.3, 0.9, 0.9]
    second = [0.3, 0.3, 0.0, 0.9, 0.9]
    for low, high in ((0, 1), (1, 0)):
        trials = [trial_of(0, first, n_weights=10 + low), trial_of(1, second, n_weights=10 + high)]
        assert winner(trials).n_weights == 10


def test_each_fold_chooses_by_its_own_validation_alone() -> None:
    first = trial_of(0, [0.9, 0.5, 0.9, 0.5, 0.5], right=[0, 4, 0, 4, 4])
    second = trial_of(1, [0.5, 0.9, 0.5, 0.9, 0.9], right=[4, 0, 4, 0, 0])
    third = trial_of(2, [0.8] * 5, right=[3] * 5)
    assert nested([first, second, third]) == [0, 1, 0, 1, 1]  # never the trial that wins on the mean,
    assert winner([first, second, third]).number == 2
    assert papers_choice([first, second, third], TASKS, LABELS) == 2


def test_only_finished_trials_are_chosen_from() -> None:
    best = trial_of(0, [1.0] * 5, right=[4] * 5, status="stopped", reason="asha, epoch 3")
    rest = trial_of(1, [0.6] * 5)
    failed = trial_result(2, [], status="failed", reason="killed")
    assert winner([best, rest, failed]).number == 1
    assert nested([best, rest, failed]) == [1] * 5
    assert papers_choice([best, rest, failed], TASKS, LABELS) == 1
    assert finished([best, rest, failed]) == [rest]


def test_a_sweep_without_a_finished_trial_says_why() -> None:
    stopped = trial_of(0, [1.0] * 5, status="stopped")
    failed = trial_result(1, [], status="failed", reason="out of memory")
    with pytest.raises(JobError, match=r"no trial finished \(1 stopped, 1 failed\); trial 1: out of memory"):
        winner([stopped, failed])
    with pytest.raises(JobError, match="none began"):
        nested([])


def test_an_outer_score_is_that_of_scikit_learn_on_accession_means() -> None:
    rng = np.random.default_rng(0)
    for task in TASKS:
        probability = rng.uniform(0.01, 0.99, len(task.fold.test))
        of_accession: dict[str, list[float]] = {}
        truth: dict[str, int] = {}
        for row, each in zip(task.fold.test, probability, strict=True):
            of_accession.setdefault(LABELS.accessions[row], []).append(each)
            truth[LABELS.accessions[row]] = int(LABELS.target[row])
        mean = [sum(values) / len(values) for values in of_accession.values()]
        target = [truth[name] for name in of_accession]
        found = outer_score(fold_result(task, 0.5, probability=probability), task, LABELS)
        assert found.value == accuracy_score(target, np.array(mean) >= 0.5)
        assert found.loss == pytest.approx(log_loss(target, mean, labels=[0, 1]))


def test_the_papers_ties_go_to_the_lower_outer_loss() -> None:
    sure = [np.where(LABELS.target[task.fold.test] == 1, 0.9, 0.1) for task in TASKS]
    unsure = [np.where(LABELS.target[task.fold.test] == 1, 0.6, 0.4) for task in TASKS]
    trials = [
        trial_result(
            number, [fold_result(task, 0.5, probability=each) for task, each in zip(TASKS, given_, strict=True)]
        )
        for number, given_ in enumerate((unsure, sure))
    ]
    assert papers_choice(trials, TASKS, LABELS) == 1


def test_a_probability_of_exactly_the_wrong_class_is_no_error() -> None:
    [found] = {
        outer_score(fold_result(TASKS[0], 0.5, probability=1.0 - LABELS.target[TASKS[0].fold.test]), TASKS[0], LABELS)
    }
    assert found.value == 0
    assert math.isfinite(found.loss)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_rules_are_what_a_plain_sort_gives(data: st.DataObject) -> None:
    grid = st.sampled_from([0.5, 0.6, 0.7])
    trials = [
        trial_of(
            number,
            [data.draw(grid) for _ in TASKS],
            [data.draw(grid) for _ in TASKS],
            n_weights=data.draw(st.integers(1, 2)),
            right=[data.draw(st.integers(0, 4)) for _ in TASKS],
            status=data.draw(st.sampled_from(["finished", "finished", "stopped"])),
        )
        for number in data.draw(st.permutations(range(5)))
    ]
    able = [trial for trial in trials if trial.status == "finished"]
    if not able:
        return

    def key(accuracies: list[float], losses: list[float], trial: TrialResult) -> tuple:
        return (-round(sum(accuracies) / len(accuracies), 9), sum(losses) / len(losses), trial.n_weights, trial.number)

    def inner(trial: TrialResult, folds: range) -> tuple:
        rows = [trial.folds[fold].history[1] for fold in folds]
        return key([row["validation_accuracy"] for row in rows], [row["validation_loss"] for row in rows], trial)

    def outer(trial: TrialResult) -> tuple:
        scores = [outer_score(fold, task, LABELS) for fold, task in zip(trial.folds, TASKS, strict=True)]
        return key([score.value for score in scores], [score.loss for score in scores], trial)

    best = sorted(able, key=lambda trial: [round(each, 9) for each in inner(trial, range(5))])[0]
    assert winner(trials).number == best.number
    assert nested(trials) == [
        sorted(able, key=lambda trial: inner(trial, range(fold, fold + 1)))[0].number for fold in range(5)
    ]
    paper = sorted(able, key=lambda trial: [round(each, 9) for each in outer(trial)])[0]
    assert papers_choice(trials, TASKS, LABELS) == paper.number


def outer_accuracy(trial: TrialResult, labels: Labels, tasks: list) -> float:
    return float(
        np.mean([outer_score(fold, task, labels).value for fold, task in zip(trial.folds, tasks, strict=True)])
    )


def test_on_noise_the_papers_rule_is_optimistic_and_the_nested_one_is_not() -> None:
    """Random labels, random predictions: the truth is one half. 60 simulated sweeps of 15 trials."""
    rng = np.random.default_rng(1)
    nested_found, paper_found = [], []
    for _ in range(60):
        target = rng.permutation(np.repeat([0, 1], 15))
        labels = sweep_labels(30, 1, target=target)
        tasks = sweep_tasks(labels, 3)
        trials = []
        for number in range(15):
            folds = []
            for task in tasks:
                probability = rng.random(len(labels.target))  # of all rows: validation and test part alike
                seen = binary_metrics(labels.target[task.fold.validation], probability[task.fold.validation])
                truth = labels.target[task.fold.validation]
                loss = -float(np.log(np.abs(1 - truth - probability[task.fold.validation])).mean())
                folds.append(fold_result(task, seen.accuracy, loss, probability=probability[task.fold.test]))
            trials.append(trial_result(number, folds))
        per_fold = nested(trials)
        nested_found.append(
            np.mean(
                [
                    outer_score(trials[number].folds[index], tasks[index], labels).value
                    for index, number in enumerate(per_fold)
                ]
            )
        )
        paper_found.append(outer_accuracy(trials[papers_choice(trials, tasks, labels)], labels, tasks))
    error = np.std(nested_found, ddof=1) / math.sqrt(len(nested_found))
    assert abs(np.mean(nested_found) - 0.5) < 2 * error
    assert np.mean(paper_found) > 0.6  # 15 looks at 30 accessions
