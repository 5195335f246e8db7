"""The ledger and the trial on it, without Ray: exact after any interruption, whole or not at all, local and on S3."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import FOLDS, config, plain_loop, study

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from pipelines.sweep_plan import SweepPlan
from tune.ledger import FORMAT, SWEEP_NAME, Entry, Ledger
from tune.schedule import make_scheduler, rungs
from tune.trainable import EPOCHS, SCORE
from tune.worker import Cohort, TrialRun

N_EPOCHS = 6


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> SweepPlan:
    options = study(tmp_path_factory.mktemp("sweep") / "study")
    return SweepPlan.make(config(options, "unused", trials=2, epochs=N_EPOCHS))


@pytest.fixture(scope="module")
def whole(plan) -> list:
    """The folds of trial 1, undisturbed."""
    return plain_loop(plan.config)[1][3]


class Struck(Exception):  # noqa: N818
    """Stands for the death of a worker."""


def run_of(plan: SweepPlan, ledger: Ledger, *, strike_after: int | None = None, seconds: float = 0.0) -> TrialRun:
    """Trial 1, whose worker dies after so many epochs."""
    trial = plan.random_trials(None)[1]
    done = []

    def on_epoch(fold, row) -> None:
        done.append(row)
        if len(done) == strike_after:
            raise Struck

    cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
    return TrialRun(
        cohort, ledger, 1, trial.values, trial.model, trial.fit, checkpoint_seconds=seconds, on_epoch=on_epoch
    )


def told(folds) -> list:
    return [(fold.fold, fold.history, fold.best_epoch, fold.probability.tolist()) for fold in folds]


@settings(max_examples=5, deadline=None)
@given(
    strikes=st.lists(st.integers(1, 2 * N_EPOCHS), max_size=3),
    halts=st.sets(st.integers(1, N_EPOCHS - 1), max_size=2),
    seconds=st.sampled_from([0.0, 3600.0]),
)
def test_struck_and_halted_anywhere_a_trial_equals_a_plain_loop(plan, whole, tmp_path_factory, strikes, halts, seconds):
    """At any epochs, with a state after each or none at all; every rung is a part of the whole."""
    out = tmp_path_factory.mktemp("ledger")
    ledger = Ledger(folder(str(out)), pytest.fail)
    for rung in [*sorted(halts), N_EPOCHS]:
        for strike in [*strikes, None]:
            try:
                folds = run_of(plan, ledger, strike_after=strike, seconds=seconds).train_to(rung)
            except Struck:
                continue
        for fold, (_, history, _, _) in zip(folds, whole, strict=True):
            assert fold.history == history[:rung]
            losses = [row["validation_loss"] for row in history[:rung]]
            assert fold.best_epoch == 1 + int(np.argmin(losses))
    assert told(folds) == whole
    assert not list(out.glob("trials/*/*.state.safetensors"))


@pytest.mark.parametrize("blocked", ["trials", "trials/0001", "trials/0001/fold0.state.safetensors/x"])
def test_a_ledger_that_a_worker_may_not_use_is_no_fault_of_the_trial(plan, tmp_path, blocked):
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file where a folder should be, or the other way round")
    with pytest.raises(JobError, match=f"{tmp_path.name}.*(not a directory|is a directory|file exists)"):
        run_of(plan, Ledger(folder(str(tmp_path)), pytest.fail)).train_to(N_EPOCHS)


def test_a_ledger_survives_on_s3(plan, whole, s3):
    ledger = Ledger(folder("s3://bucket/sweep"), pytest.fail)
    ledger.begin({"identity": {"assay": "activity"}, "memory_limit": 1})
    with pytest.raises(Struck):
        run_of(plan, ledger, strike_after=9).train_to(N_EPOCHS)
    assert "trials/0001/fold0.json" in folder("s3://bucket/sweep").names()
    trial = plan.random_trials(None)[1]
    entry = Entry(1, trial.values, trial.n_weights, started=1.5, rungs=[{"epochs": 3, "accuracy": 0.5, "at": 2.0}])
    ledger.write_entry(entry)
    assert ledger.entries(FOLDS) == {1: entry}
    folds = run_of(plan, ledger).train_to(N_EPOCHS)
    assert told(folds) == whole
    entry.status = "finished"
    ledger.write_entry(entry)
    again = Ledger(folder("s3://bucket/sweep"), pytest.fail)
    assert told(again.result(again.entries(FOLDS)[1], FOLDS).folds) == told(folds)
    assert again.about() == {"format": FORMAT, "identity": {"assay": "activity"}, "memory_limit": 1}
    ledger.clear(1)
    assert again.entries(FOLDS) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "ms2img sweep 9"}', b"\xff"])
def test_a_sweep_of_another_format_is_refused_in_a_line(tmp_path, content):
    (tmp_path / SWEEP_NAME).write_bytes(content)
    with pytest.raises(UsageError, match=r"sweep.json: (is damaged|has format .*, expected 'ms2img sweep 1'); give"):
        Ledger(folder(str(tmp_path))).about()


@pytest.mark.parametrize("victim", ["fold0.json", "fold1.state.safetensors", "trial.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_what_is_damaged_is_told_and_done_again(plan, whole, tmp_path, victim, damage):
    notices: list[str] = []
    ledger = Ledger(folder(str(tmp_path)), notices.append)
    trial = plan.random_trials(None)[1]
    ledger.write_entry(Entry(1, trial.values, trial.n_weights, started=0.0))
    with pytest.raises(Struck):
        run_of(plan, ledger, strike_after=N_EPOCHS + 3).train_to(N_EPOCHS)
    path = tmp_path / "trials/0001" / victim
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "foreign": b"{}"}[damage])
    assert list(ledger.entries(FOLDS)) == ([] if victim == "trial.json" else [1])
    folds = run_of(plan, ledger).train_to(N_EPOCHS)
    assert told(folds) == whole
    assert len(notices) == 1
    assert victim.split(".")[0].replace("fold1", "fold 1") in notices[0]


def test_a_finished_trial_without_a_whole_fold_goes_on(plan, tmp_path):
    ledger = Ledger(folder(str(tmp_path)))
    folds = run_of(plan, ledger).train_to(N_EPOCHS)
    trial = plan.random_trials(None)[1]
    ledger.write_entry(Entry(1, trial.values, trial.n_weights, started=0.0, status="finished"))
    assert ledger.entries(FOLDS)[1].has_ended
    other = json.loads((tmp_path / "trials/0001/fold1.json").read_text())
    other["values"]["units"] += 1  # a fold of other hyper-parameters is none of this trial's
    (tmp_path / "trials/0001/fold1.json").write_text(json.dumps(other))
    assert not ledger.entries(FOLDS)[1].has_ended
    assert told(run_of(plan, ledger).train_to(N_EPOCHS)) == told(folds)
    assert ledger.entries(FOLDS)[1].has_ended


def test_a_failure_that_may_not_come_again_is_tried_again(tmp_path):
    ledger = Ledger(folder(str(tmp_path)))
    ledger.write_entry(Entry(0, {}, 1, started=0.0, status="failed", reason="diverged"))
    ledger.write_entry(Entry(1, {}, 1, started=0.0, status="failed", reason="its worker died", lasting=False))
    assert [entry.status for entry in ledger.entries(FOLDS).values()] == ["failed", None]
    assert [entry.status for entry in ledger.entries(FOLDS, again=False).values()] == ["failed", "failed"]


@given(scheduler=st.sampled_from(["fifo", "asha", "median"]), epochs=st.integers(1, 500))
def test_rungs_rise_to_the_last_epoch(scheduler, epochs):
    found = rungs(scheduler, epochs)
    assert list(found) == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] == epochs
    assert len(found) <= {"fifo": 1, "asha": 3, "median": 8}[scheduler]


class Running:
    """What Ray Tune's schedulers ask of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)
        self.config = {"trial": {"number": number}}


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=14),
    cut=st.integers(0, 30),
)
def test_a_resumed_scheduler_decides_as_the_undisturbed_one(scheduler, scores, cut):
    """Trials one after the other, interrupted after any rung."""
    steps = rungs(scheduler, 9) if scheduler == "asha" else (3, 6, 9)

    def decisions(interrupted: bool) -> list[tuple[int, int, str]]:
        active = make_scheduler(scheduler, 9, [])
        entries: list[Entry] = []
        made: list[tuple[int, int, str]] = []
        for number, of_trial in enumerate(scores):
            trial, entry = Running(number), Entry(number, {}, 1, started=0.0)
            entries.append(entry)
            active.on_trial_add(None, trial)
            for step, score in zip(steps, of_trial, strict=True):
                result = {EPOCHS: step, SCORE: score / 10}
                if step == 9:
                    answer = "STOP"  # its end: Tune asks no more
                    active.on_trial_complete(None, trial, result)
                else:
                    answer = active.on_trial_result(None, trial, result)
                made.append((number, step, answer))
                entry.rungs.append({EPOCHS: step, "accuracy": score / 10, "at": float(len(made))})
                if answer == "STOP":
                    entry.status = "finished" if step == 9 else "stopped"
                    if step < 9:
                        active.on_trial_complete(None, trial, result)
                if interrupted and len(made) == cut:
                    active = make_scheduler(scheduler, 9, entries)
                    if entry.status is None:
                        trial = Running(number)
                        active.on_trial_add(None, trial)
                if answer == "STOP":
                    break
        return made

    assert decisions(interrupted=True) == decisions(interrupted=False)
