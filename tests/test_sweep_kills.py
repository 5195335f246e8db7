"""Whatever is killed, and whenever: --resume ends with the trials of an undisturbed sweep, none lost, none repeated."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import ray
from conversions import strike, wait_for
from epoch_counting import counted, counting, lost_seconds
from sweeps import FOLDS, config, plain_loop, results, searched, statuses, study, sweeping, trial_workers

from ms2img.io.dataset.lease import LEASE_NAME
from ms2img.io.storage import folder
from pipelines.sweep_plan import SweepPlan
from tune.ledger import STATE_SUFFIX

pytestmark = pytest.mark.ray

TRIALS, EPOCHS = 6, 80
ASKED = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "terminated")}  # signals that let a sweep clear up
PATIENCE = 180.0  # seconds for a process to come so far, on a machine that is busy with other tests
CHECKPOINT_SECONDS = 0.1
MORE = (f"--trials={TRIALS}", f"--epochs={EPOCHS}", f"--checkpoint-seconds={CHECKPOINT_SECONDS}")


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, str]:
    return study(tmp_path_factory.mktemp("sweep") / "study")


@pytest.fixture(scope="module")
def undisturbed(options) -> dict:
    return plain_loop(config(options, "unused", trials=TRIALS, epochs=EPOCHS))


def finished(out: Path) -> set[int]:
    return {number for number, status in statuses(out).items() if status == "finished"}


def over(out: Path) -> int:
    """How many trials have ended, however."""
    return sum(status is not None for status in statuses(out).values())


def states(out: Path) -> list[Path]:
    return list(out.glob("trials/*/*.state.safetensors"))


def written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # its fold has ended meanwhile
        return 0


def written(out: Path, numbers: set[int]) -> dict[str, int]:
    """When the folds of these trials were written."""
    return {str(path): path.stat().st_mtime_ns for n in numbers for path in out.glob(f"trials/{n:04}/fold*.json")}


def test_a_sweep_that_is_struck_twice_ends_as_if_undisturbed(ray_session, options, undisturbed, tmp_path):
    """A worker in mid-epoch, then the driver, by ``kill -9``; on a cluster that outlives both."""
    out = tmp_path / "out"
    variables = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", ""),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    with sweeping(options, out, *MORE, **variables) as process:
        wait_for(lambda: finished(out) and states(out), process, PATIENCE)
        os.kill(trial_workers(os.getpid())[0], signal.SIGKILL)
        before = finished(out)
        wait_for(lambda: finished(out) > before and states(out), process, PATIENCE)
        process.kill()
        process.wait()
    assert len(finished(out)) < TRIALS
    kept = written(out, finished(out))

    with sweeping(options, out, *MORE, "--resume", **variables) as process:
        told, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "took over the lease of process" in err
    assert results(out) == undisturbed
    assert kept.items() <= written(out, finished(out)).items()  # what was done was not done again
    assert not states(out)
    assert json.loads(told)["counts"] == {"finished": TRIALS, "stopped": 0, "failed": 0}


@pytest.mark.slow
def test_kills_of_every_kind_on_a_ray_of_its_own(options, undisturbed, tmp_path):
    """Each in turn, at a later moment of the sweep; then the rest. Every epoch that is trained is counted."""
    out = tmp_path / "out"
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", **counting(tmp_path)}
    resume: tuple[str, ...] = ()
    kept: dict[str, int] = {}
    for victim in ("raylet", "worker", "gcs_server", "driver", "SIGINT", "SIGTERM"):
        with sweeping(options, out, *MORE, *resume, **variables) as process:
            wait_for(lambda: trial_workers(process.pid), process, PATIENCE)
            begun = time.time_ns()  # a worker of the last Ray may have outlived it for a moment
            wait_for(lambda: any(written_at(path) > begun for path in states(out)), process, PATIENCE)  # noqa: B023
            if victim == "worker":
                os.kill(trial_workers(process.pid)[0], signal.SIGKILL)
                was = finished(out)
                wait_for(lambda: finished(out) > was, process, PATIENCE)  # noqa: B023
                process.kill()
            elif victim in ASKED:
                process.send_signal(signal.Signals[victim])
            else:
                assert strike(process, victim)
            _, err = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in err, (victim, err)
        if victim in ("raylet", "gcs_server") and process.returncode == 1:
            assert "Ray has stopped" in err
            assert "add --resume" in err
        elif victim in ASKED:
            status, word = ASKED[victim]
            assert process.returncode == status
            how = "run the same command again" if resume else "add --resume to the same command"
            assert err.splitlines()[-1] == f"ms2img: {word}; {how} to go on"
            assert not (out / LEASE_NAME).exists()
        else:
            assert process.returncode < 0, (victim, err)
        assert len(finished(out)) < TRIALS, victim
        assert set(statuses(out).values()) <= {"finished", None}  # the death of Ray is no trial's failure
        kept |= written(out, finished(out))
        resume = ("--resume",)
    with sweeping(options, out, *MORE, *resume, **variables) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert results(out) == undisturbed
    assert kept.items() <= written(out, finished(out)).items()
    epochs = counted(tmp_path)
    assert len({(epoch.trial, epoch.fold, epoch.number) for epoch in epochs}) == TRIALS * FOLDS * EPOCHS
    assert lost_seconds(epochs) <= CHECKPOINT_SECONDS


@pytest.mark.slow
def test_an_interrupted_asha_sweep_stops_and_finishes_what_an_undisturbed_one_does(ray_session, options, tmp_path):
    asked = config(options, "unused", trials=8, epochs=EPOCHS, scheduler="asha")
    searched(SweepPlan.make(asked), tmp_path / "whole", concurrent=1)
    whole = results(tmp_path / "whole")
    assert {status for _, status, *_ in whole.values()} == {"finished", "stopped"}

    out = tmp_path / "out"
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    more = ("--trials=8", f"--epochs={EPOCHS}", "--scheduler=asha", "--concurrent=1", "--checkpoint-seconds=0.1")
    for ended in (1, 4):
        resume = ("--resume",) if ended > 1 else ()
        with sweeping(options, out, *more, *resume, **variables) as process:
            wait_for(lambda: over(out) >= ended and states(out), process, PATIENCE)  # noqa: B023
            process.kill()
            process.wait()
    assert len(statuses(out)) < 8
    with sweeping(options, out, *more, "--resume", **variables) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert results(out) == whole


@pytest.mark.slow
def test_a_sweep_kept_on_s3_is_killed_and_goes_on(options, s3, tmp_path):
    location = "s3://bucket/sweep"
    more = ("--trials=3", "--epochs=40", "--checkpoint-seconds=0.2")
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    with sweeping(options, location, *more, **variables) as process:
        wait_for(lambda: any("fold" in name for name in folder(location).names("trials/")), process, PATIENCE)
        process.kill()
        process.wait()
    with sweeping(options, location, *more, "--resume", **variables) as process:
        told, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(told)["output"] == location
    assert results(location) == plain_loop(config(options, "unused", trials=3, epochs=40))
    left = folder(location).names()
    assert LEASE_NAME not in left
    assert not [name for name in left if name.endswith(STATE_SUFFIX)]
    with sweeping(options, location, *more, "--resume", **variables) as process:  # nothing is left to do
        again, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(again)["model"] == json.loads(told)["model"]
