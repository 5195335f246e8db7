"""A sweep on Ray Tune: equal to a plain loop, the same whatever runs at once, kept and logged whatever goes away."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conversions import outside_ray
from sweeps import FOLDS, Heard, config, plain_loop, results, searched, study

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import folder
from ms2img.tracking.store import open_store
from pipelines.sweep import sweep
from pipelines.sweep_config import SweepConfig
from pipelines.sweep_nodes import Node, slots
from pipelines.sweep_plan import SweepPlan
from pipelines.sweep_resume import checked
from tune.choose import nested, winner
from tune.ledger import Entry, Ledger
from tune.proposals import propose_values
from tune.settings import Proposing
from tune.space import Space

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, str]:
    return study(tmp_path_factory.mktemp("sweep") / "study")


@pytest.fixture(autouse=True)
def store(tmp_path_factory, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


#: Of the parent run and two trials the metrics are written, of no more.
AWAY = """
CREATE TRIGGER away BEFORE INSERT ON metrics WHEN (SELECT count(*) FROM runs) > 3
BEGIN SELECT RAISE(FAIL, 'it is gone'); END
"""


def in_database(statement: str) -> None:
    """Run a statement in the tracking store of this test."""
    open_store()
    with closing(sqlite3.connect(os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///"))) as database:
        database.execute(statement)


def test_a_sweep_equals_a_plain_loop_and_is_tracked_registered_and_gone_on_with(ray_session, options, tmp_path):
    """One sweep through: its store fails in the middle, the next start only logs, and one more changes nothing."""
    out = tmp_path / "out"
    asked = config(options, out, trials=4)  # two at a time, while the plain loop takes them one by one
    notices: list[str] = []
    in_database(AWAY)
    with pytest.raises(JobError, match="it is gone.*; nothing that was trained is lost; add --resume to the same"):
        sweep(asked, quiet=True, notice=notices.append)
    assert re.match("the tracking store no longer answers, the trials go on without it: .*it is gone", notices.pop())
    assert not notices
    assert results(out) == plain_loop(asked)
    in_database("DROP TRIGGER away")

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


@dataclass(frozen=True)
class Searched:
    """One search through asha, by one worker."""

    asked: SweepConfig
    out: Path
    heard: Heard
    workers: list[str]


EPOCHS = 9
REFUSED, DIVERGING = 3, 6


@pytest.fixture(scope="module")
def halving(ray_session, options, tmp_path_factory) -> Searched:
    """Eight trials, of which one is too large and one diverges."""
    out = tmp_path_factory.mktemp("halving")
    asked = config(options, "unused", trials=8, epochs=EPOCHS, scheduler="asha")
    plan = SweepPlan.make(asked)
    trials = plan.random_trials(None)
    trials[REFUSED] = replace(trials[REFUSED], refused="trial 3: needs 9.0 GiB; this worker has 2.0 GiB")
    trials[DIVERGING] = plan.trial(DIVERGING, {**trials[DIVERGING].values, "learning_rate": 1e30}, None)
    heard, spent = searched(plan, out, trials, concurrent=1)
    return Searched(asked, out, heard, spent.workers)


def test_asha_stops_weak_trials_and_chooses_none_of_them(halving):
    results = halving.heard.results
    stopped = {number for number, result in results.items() if result.status == "stopped"}
    finished = {number for number, result in results.items() if result.status == "finished"}
    assert stopped
    assert stopped | finished == set(range(8)) - {REFUSED, DIVERGING}
    whole = plain_loop(halving.asked)
    for number in stopped | finished:
        for fold, (_, history, *_) in zip(results[number].folds, whole[number][3], strict=True):
            assert fold.history == history[: len(fold.history)]  # a rung is a part of the whole, to the last bit
            assert len(fold.history) == EPOCHS or (number in stopped and len(fold.history) in (1, 3))
    assert winner(list(results.values())).number in finished
    assert set(nested(list(results.values()))) <= finished
    assert not list(halving.out.glob("trials/*/*.state.safetensors"))


def test_one_worker_trains_every_trial_with_the_images_it_has(halving):
    heard = halving.heard
    assert [number for number, _ in heard.begun] == [0, 1, 2, 4, 5, 6, 7]
    assert (heard.most_at_once(), len(halving.workers)) == (1, 1)
    assert len(set(heard.epochs)) == len(heard.epochs)  # none was trained twice


def test_a_trial_that_is_too_large_or_diverges_fails_alone_and_by_name(halving):
    refused, diverged = (halving.heard.results[number] for number in (REFUSED, DIVERGING))
    assert (refused.status, refused.reason, refused.folds) == ("failed", "needs 9.0 GiB; this worker has 2.0 GiB", [])
    assert diverged.status == "failed"
    assert diverged.reason.endswith("a lower learning rate may help")
    with pytest.raises(JobError, match=r"no trial finished \(2 failed\); trial 3: needs 9.0 GiB"):
        winner([refused, diverged])


def test_a_sweep_of_another_preset_or_of_nothing_is_told(options, tmp_path):
    notices: list[str] = []
    plan = SweepPlan.make(config(options, "unused", resume=True))
    ledger = Ledger(folder(str(tmp_path)), notices.append)
    assert checked(plan, ledger) is None
    assert notices == [f"{tmp_path}: holds no sweep to go on with; one is begun"]
    ledger.begin({"identity": plan.identity()})
    assert checked(plan, ledger) == ledger.about()
    [first, *_] = plan.tasks
    changed = replace(plan, tasks=[replace(first, cnn=replace(first.cnn, filters=7), fit=replace(first.fit, shift=2))])
    with pytest.raises(UsageError, match=r"this version of ms2img has another preset .* \(filters, shift\); give"):
        checked(changed, ledger)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gpus_per_trial": 1.0}, "a trial takes 1 CPUs, 1 GPUs, but the Ray cluster has 2 CPUs, 0 GPUs; lower"),
        ({"cpus_per_trial": 3}, "a trial takes 3 CPUs"),
    ],
)
def test_a_trial_without_room_is_refused_before_there_is_a_sweep(ray_session, options, tmp_path, wrong, said):
    with pytest.raises(UsageError, match=said):
        sweep(config(options, tmp_path / "out", **wrong), quiet=True)
    assert not list((tmp_path / "out").iterdir())


def test_the_room_for_trials_is_that_of_the_nodes_they_are_placed_on(options):
    cpu, gpu, head = Node(2, 0, 8, "cpu"), Node(3, 1, 6, "gpu"), Node(5, 0, 4, "head")
    on_cpus, on_gpus = (SweepPlan.make(config(options, "unused", gpus_per_trial=share)) for share in (0.0, 0.5))
    assert (slots(on_cpus.config, [cpu, gpu, head]), on_cpus._memory([cpu, gpu, head])) == (2, (8, 2))
    assert (slots(on_gpus.config, [cpu, gpu, head]), on_gpus._memory([cpu, gpu, head])) == (2, (6, 2))
    assert slots(on_cpus.config, [gpu, head]) == 8  # none is for them, so all are
    assert slots(on_cpus.config, [Node(2, 0, 8), Node(4, 0, 8)]) == 6


@pytest.mark.slow
def test_a_ledger_that_is_taken_away_ends_the_job_in_a_line(ray_session, options, tmp_path):
    class Thief(Heard):
        def epoch(self, number, fold, row) -> None:
            shutil.rmtree(tmp_path / "trials", ignore_errors=True)
            (tmp_path / "trials").touch()

    plan = SweepPlan.make(config(options, "unused", trials=2, epochs=2000))
    with pytest.raises(JobError, match="trials/000.*: cannot be (read|written): "):
        searched(plan, tmp_path, heard=Thief())


def proposing(options, trials: int) -> tuple[SweepPlan, Proposing]:
    plan = SweepPlan.make(config(options, "unused", trials=trials, epochs=1, searcher="optuna"))
    return plan, Proposing(plan.space, 0, trials, lambda number, values: plan.trial(number, values, None))


def test_optuna_goes_on_after_what_the_ledger_holds(ray_session, options, tmp_path):
    plan, propose = proposing(options, 3)
    ledger = Ledger(folder(str(tmp_path)))
    over = Entry(0, propose_values(plan.space, 0, 0, []), 1, started=0.0, status="failed", reason="it diverged")
    begun = Entry(1, propose_values(plan.space, 0, 1, [over]), 1, started=0.0)
    ledger.write_entry(over)
    ledger.write_entry(begun)
    heard, spent = searched(plan, tmp_path, propose, concurrent=1)
    assert [number for number, _ in heard.begun] == [1, 2]
    assert len(spent.workers) == 1
    one, two = (ledger.entry(number) for number in (1, 2))
    assert one.values == begun.values
    assert two.values == propose_values(plan.space, 0, 2, [over, one])
    assert {heard.results[number].status for number in (1, 2)} == {"finished"}


@pytest.mark.slow
def test_an_interrupted_optuna_search_ends_as_an_undisturbed_one(ray_session, options, tmp_path):
    """From the eleventh trial on Optuna's model proposes, before that chance."""
    plan, propose = proposing(options, 13)
    searched(plan, tmp_path / "whole", propose, concurrent=1)
    searched(plan, tmp_path / "parts", replace(propose, trials=11), concurrent=1)
    heard, _ = searched(plan, tmp_path / "parts", propose, concurrent=1)
    assert [number for number, _ in heard.begun] == [11, 12]
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
    assert len({str(result.values) for result in heard.results.values()}) == 13


def test_what_optuna_proposes_follows_from_the_trials_before():
    space = Space.load("paper")
    ended = [
        Entry(n, space.sample(0, n), 1, started=0.0, status="finished", rungs=[{"epochs": 1, "accuracy": n / 12}])
        for n in range(12)
    ]
    proposed = propose_values(space, 0, 12, ended)
    assert proposed == propose_values(space, 0, 12, ended) == space.exact(proposed)
    assert proposed != propose_values(space, 0, 12, [replace(each, rungs=each.rungs[::-1]) for each in ended[:6]])
    better = [replace(each, rungs=[{"epochs": 1, "accuracy": 1 - each.rungs[0]["accuracy"]}]) for each in ended]
    assert proposed != propose_values(space, 0, 12, better)
    assert proposed != propose_values(space, 1, 12, ended)


#: A sweep's trials on a Ray with one GPU that is only a number, two CPUs, and half of the GPU a trial.
GPUS = """
import sys, ray
sys.path.insert(0, sys.argv[1])
from sweeps import Heard, config
from pipelines.sweep_nodes import Node, slots
from pipelines.sweep_plan import SweepPlan
from ms2img.io.storage import folder
from tune.ledger import Ledger
from tune.search import run_search
from tune.settings import Search
from tune.worker import Cohort
ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
options = dict(zip(("images", "samples", "space", "assay"), sys.argv[3:]))
plan = SweepPlan.make(config(options, sys.argv[2], trials=6, gpus_per_trial=0.5))
nodes, heard = Node.connected(), Heard()
assert slots(plan.config, nodes) == 2, slots(plan.config, nodes)
search = Search(1, 0.5, 4, "fifo", plan.epochs, 60)  # Ray's own packing, not ours, is to keep it at two
cohort = Cohort(plan.cohort.images, plan.cohort.labels.target, plan.tasks)
run_search(plan.random_trials(None), cohort, Ledger(folder(sys.argv[2])), search, heard)
print(heard.most_at_once(), {each.status for each in heard.results.values()})
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
