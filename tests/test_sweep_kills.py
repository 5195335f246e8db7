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
from sweeps import config, plain_loop, results, statuses, study, sweeping, trial_workers

from ms2img.io.dataset.lease import LEASE_NAME

pytestmark = pytest.mark.ray

TRIALS, EPOCHS = 6, 80
PATIENCE = 180.0  # seconds for a process to come so far, on a machine that is busy with other tests
MORE = (f"--trials={TRIALS}", f"--epochs={EPOCHS}", "--checkpoint-seconds=0.1")


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, str]:
    return study(tmp_path_factory.mktemp("sweep") / "study")


@pytest.fixture(scope="module")
def undisturbed(options) -> dict:
    return plain_loop(config(options, "unused", trials=TRIALS, epochs=EPOCHS))


def finished(out: Path) -> set[int]:
    return {number for number, status in statuses(out).items() if status == "finished"}


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


def test_a_sweep_that_is_struck_three_times_ends_as_if_undisturbed(ray_session, options, undisturbed, tmp_path):
    """A worker in mid-epoch and a SIGTERM, then ``kill -9`` of the driver; on a cluster that outlives both."""
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
        wait_for(lambda: finished(out) > before, process, PATIENCE)
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, err
    assert err.splitlines() == [
        f"ms2img: add --resume to the same command to go on with what is kept in {out}",
        "ms2img: terminated; run the same command again to go on",
    ]
    assert not (out / LEASE_NAME).exists()
    kept = written(out, finished(out))

    with sweeping(options, out, *MORE, "--resume", **variables) as process:
        before = finished(out)
        wait_for(lambda: finished(out) > before and states(out), process, PATIENCE)
        process.kill()
        process.wait()
    assert len(finished(out)) < TRIALS
    kept |= written(out, finished(out))

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
    """Each in turn, at a later moment of the sweep; then the rest."""
    out = tmp_path / "out"
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    resume: tuple[str, ...] = ()
    kept: dict[str, int] = {}
    for victim in ("raylet", "worker", "gcs_server", "driver", "SIGINT"):
        with sweeping(options, out, *MORE, *resume, **variables) as process:
            wait_for(lambda: trial_workers(process.pid), process, PATIENCE)
            begun = time.time_ns()  # a worker of the last Ray may have outlived it for a moment
            wait_for(lambda: any(written_at(path) > begun for path in states(out)), process, PATIENCE)  # noqa: B023
            if victim == "worker":
                os.kill(trial_workers(process.pid)[0], signal.SIGKILL)
                was = finished(out)
                wait_for(lambda: finished(out) > was, process, PATIENCE)  # noqa: B023
                process.kill()
            elif victim == "SIGINT":
                process.send_signal(signal.SIGINT)
            else:
                assert strike(process, victim)
            _, err = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in err, (victim, err)
        if victim in ("raylet", "gcs_server") and process.returncode == 1:
            assert "Ray has stopped" in err
            assert "add --resume" in err
        elif victim == "SIGINT":
            assert process.returncode == 130, err
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
