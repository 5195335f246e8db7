"""A sweep on Ray Tune: equal to a plain loop, the same whatever runs at once, kept and logged whatever goes away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conversions import outside_ray
from sweeps import FOLDS, config, plain_loop, results, statuses, study

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import folder
from ms2img.tracking.store import StoreError, open_store
from ms2img.tracking.sweeps import TrackedSweep
from pipelines.sweep import sweep
from pipelines.sweep_plan import SweepPlan
from tune.choose import nested, winner
from tune.ledger import Ledger
from tune.search import run_search
from tune.settings import Proposing, Search
from tune.worker import Cohort

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, str]:
    return study(tmp_path_factory.mktemp("sweep") / "study")


@pytest.fixture(autouse=True)
def store(tmp_path_factory, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        self.epochs: list[tuple[int, int, float]] = []
        self.results: dict[int, object] = {}
        self.notes: list[str] = []
        self.running: set[int] = set()
        self.most_at_once = 0

    def started(self, trial, worker) -> None:
        self.begun.append((trial.number, worker))
        self.running.add(trial.number)
        self.most_at_once = max(self.most_at_once, len(self.running))

    def epoch(self, number, fold, row) -> None:
        self.epochs.append((number, fold, row["epoch"]))

    def ended(self, result) -> None:
        self.results[result.number] = result
        self.running.discard(result.number)

    def note(self, text) -> None:
        self.notes.append(text)


def searched(plan: SweepPlan, out: Path | str, trials=None, *, concurrent: int = 2):
    """The trials alone, without a tracking store and a refit; what was heard, and the workers."""
    heard = Heard()
    search = Search(
        cpus_per_trial=1,
        gpus_per_trial=0,
        concurrent=concurrent,
        scheduler=plan.config.scheduler,
        epochs=plan.epochs,
        checkpoint_seconds=60,
    )
    cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
    ledger = Ledger(folder(str(out)), heard.note)
    spent = run_search(trials or plan.random_trials(None), cohort, ledger, search, heard)
    return heard, spent


def test_a_sweep_equals_a_plain_loop_and_is_tracked_registered_and_gone_on_with(ray_session, options, tmp_path):
    """One sweep through: its store fails in the middle, the next start only logs, and one more changes nothing."""
    out = tmp_path / "out"
    asked = config(options, out, trials=4)
    notices: list[str] = []
    failing = pytest.MonkeyPatch()
    log_trial = TrackedSweep.log_trial

    def away(self, number, *args, **more):
        if len(self.logged) >= 2:
            raise StoreError("mlflow.db: it is gone")
        return log_trial(self, number, *args, **more)

    failing.setattr(TrackedSweep, "log_trial", away)
    with pytest.raises(JobError, match="it is gone; nothing that was trained is lost; add --resume to the same"):
        sweep(asked, quiet=True, notice=notices.append)
    assert notices == ["the tracking store no longer answers, the trials go on without it: mlflow.db: it is gone"]
    assert results(out) == plain_loop(asked)
    failing.undo()

    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/*")} | {
        path: path.stat().st_mtime_ns for path in out.glob("refit/*")
    }
    with pytest.raises(UsageError, match=r"holds a sweep of assay 'activity' with 4 of 4 trials done; --resume goes"):
        sweep(asked, quiet=True)
    for changed, said in (({"seed": 1}, "--seed 0, now asked for --seed 1"), ({"trials": 5}, "--trials 4, now asked")):
        with pytest.raises(UsageError, match=said):
            sweep(asked.model_copy(update={**changed, "resume": True}), quiet=True)

    with (
        Lease(folder(str(out)), notices.append),
        pytest.raises(UsageError, match="another job is writing here: process"),
    ):
        sweep(asked.model_copy(update={"resume": True}), quiet=True)

    resumed = asked.model_copy(update={"resume": True, "concurrent": 1})
    summary = sweep(resumed, quiet=True)
    assert summary.workers == 0  # nothing was trained
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    trials = [Ledger(folder(str(out))).result(entry, FOLDS) for entry in Ledger(folder(str(out))).entries(2).values()]
    assert summary.sweep.summary["winner"]["trial"] == winner(trials).number
    assert summary.record.summary["nested_trials"] == nested(trials)
    client = open_store().client()
    children = client.search_runs(
        [client.get_run(summary.run_id).info.experiment_id], f"tags.mlflow.parentRunId = '{summary.run_id}'"
    )
    assert sorted(int(child.data.tags["ms2img.trial"]) for child in children) == [0, 1, 2, 3]
    again = sweep(resumed, quiet=True)
    assert (again.run_id, again.registration) == (summary.run_id, summary.registration)


def test_what_runs_at_once_changes_nothing_and_a_worker_keeps_its_images(ray_session, options, tmp_path):
    """Eight trials one by one, of which one is too large: it fails alone, by name."""
    plan = SweepPlan.make(config(options, "unused", trials=8, epochs=2))
    trials = plan.random_trials(None)
    trials[3] = replace(trials[3], refused="trial 3: needs 9.0 GiB; this worker has 2.0 GiB")
    one_by_one, spent = searched(plan, tmp_path / "one", trials, concurrent=1)
    assert [number for number, _ in one_by_one.begun] == [0, 1, 2, 4, 5, 6, 7]
    assert (one_by_one.most_at_once, len(spent.workers)) == (1, 1)  # one process trained all, and fetched images once
    assert len(set(one_by_one.epochs)) == len(one_by_one.epochs) == 7 * FOLDS * 2
    failed = one_by_one.results[3]
    assert (failed.status, failed.reason, failed.folds) == ("failed", "needs 9.0 GiB; this worker has 2.0 GiB", [])

    _, spent = searched(plan, tmp_path / "both", trials, concurrent=2)
    assert 2 <= len(spent.workers) <= 4  # while a worker is still starting, Tune may put another in its place
    assert results(tmp_path / "both") == results(tmp_path / "one")


def test_a_diverging_trial_fails_by_name_and_the_first_reason_is_told_when_all_do(ray_session, options, tmp_path):
    space = Path(options["space"]).with_name("hopeless.yaml")
    space.write_text("base: paper\nparameters:\n  conv_layers: {choice: [1]}\n  learning_rate: {choice: [1.0e+30]}\n")
    asked = config({**options, "space": str(space)}, tmp_path / "out", trials=2)
    with pytest.raises(JobError, match=r"no trial finished \(2 failed\); trial 0: .*a lower learning rate may help$"):
        sweep(asked, quiet=True)
    assert statuses(tmp_path / "out") == {0: "failed", 1: "failed"}


def test_asha_stops_weak_trials_and_chooses_none_of_them(ray_session, options, tmp_path):
    plan = SweepPlan.make(config(options, "unused", trials=8, epochs=9, scheduler="asha"))
    heard, _ = searched(plan, tmp_path)
    stopped = {number: result for number, result in heard.results.items() if result.status == "stopped"}
    assert stopped
    whole = plain_loop(plan.config)
    for number, result in heard.results.items():
        for fold, (_, history, *_) in zip(result.folds, whole[number][3], strict=True):
            assert fold.history == history[: len(fold.history)]  # a rung is a part of the whole, to the last bit
            assert len(fold.history) == 9 or (number in stopped and len(fold.history) in (1, 3))
    best = winner(list(heard.results.values()))
    assert best.number not in stopped
    assert not stopped.keys() & set(nested(list(heard.results.values())))
    assert not list(tmp_path.glob("trials/*/*.state.safetensors"))


def test_optuna_goes_on_as_if_undisturbed(ray_session, options, tmp_path):
    plan = SweepPlan.make(config(options, "unused", trials=13, epochs=1, searcher="optuna"))
    propose = Proposing(plan.space, 0, 13, lambda number, values: plan.trial(number, values, None))
    whole, spent = searched(plan, tmp_path / "whole", propose, concurrent=1)
    assert len(spent.workers) == 1
    searched(plan, tmp_path / "parts", replace(propose, trials=11), concurrent=1)
    parts, _ = searched(plan, tmp_path / "parts", propose, concurrent=1)
    assert [number for number, _ in parts.begun] == [11, 12]
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
    assert len({str(result.values) for result in whole.results.values()}) == 13


#: A sweep's trials on a Ray with one GPU that is only a number, two CPUs, and half of the GPU a trial.
GPUS = """
import sys, ray
sys.path.insert(0, sys.argv[1])
from test_sweep import Heard, searched
from sweeps import config
from pipelines.sweep_plan import Node, SweepPlan
from ms2img.io.storage import folder
from tune.ledger import Ledger
from tune.search import run_search
from tune.settings import Search
from tune.worker import Cohort
ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
options = dict(zip(("images", "samples", "space", "assay"), sys.argv[3:]))
plan = SweepPlan.make(config(options, sys.argv[2], trials=6, gpus_per_trial=0.5))
nodes, heard = Node.connected(), Heard()
assert plan.slots(nodes) == 2, plan.slots(nodes)
search = Search(1, 0.5, 4, "fifo", plan.epochs, 60)  # Ray's own packing, not ours, is to keep it at two
cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
run_search(plan.random_trials(None), cohort, Ledger(folder(sys.argv[2])), search, heard)
print(heard.most_at_once, {each.status for each in heard.results.values()})
"""


@pytest.mark.slow
def test_gpus_that_are_only_numbers_limit_how_many_train(options, tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", GPUS, str(Path(__file__).parent), str(tmp_path), *options.values()],
        env=outside_ray(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert told.stdout.strip() == "2 {'finished'}", told.stderr
