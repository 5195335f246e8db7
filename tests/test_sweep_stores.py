"""A sweep in a real MLflow server that dies, and in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conversions import wait_for
from search_records import make_search
from sweeps import statuses, study, sweeping
from tracked_sweeps import log_trial, open_sweep, trials_of

from ms2img.errors import UsageError
from ms2img.ms2toimg.record import CvRecord
from ms2img.tracking.store import Store, StoreError, open_store
from pipelines.models import load_record
from tune.record import SweepRecord


@pytest.fixture(scope="module")
def records() -> tuple[SweepRecord, CvRecord]:
    return make_search(6, failed=(4,), stopped_at={2: 2})


def _when_it_answers(folder: Path) -> Store:
    """The store of a server that is starting."""
    for _ in range(240):
        with suppress(UsageError):
            return open_store(folder)
        time.sleep(0.5)
    raise TimeoutError("the server did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real MLflow server, in a session of its own: it has workers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder / 'm.db'}", "--artifacts-destination", str(folder / "a")]
    server = subprocess.Popen(
        [*command, *places], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow  # half a minute: the server starts twice
def test_a_server_killed_in_the_middle_is_told_and_the_block_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: tuple[SweepRecord, CvRecord]
) -> None:
    port = _free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with _server(tmp_path, port) as server:
        store = _when_it_answers(tmp_path)
        with open_sweep(store) as run:
            log_trial(run, 0, records[0].history.query("trial == 0"))
            run.log_sweep(records[0])
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            for log in (partial(log_trial, run, 1), partial(run.log_sweep, records[0]), partial(run.tag_best, "x", 0)):
                with pytest.raises(StoreError, match="127.0.0.1") as refusal:
                    log()
                assert "\n" not in str(refusal.value)
            started = time.monotonic()
        assert time.monotonic() - started < 15
    with _server(tmp_path, port):
        store = _when_it_answers(tmp_path)
        with open_sweep(store, run.run_id) as again:
            assert set(again.logged) == {0}
            log_trial(again, 1)
        assert store.client().get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.ray
@pytest.mark.slow  # two minutes
def test_a_sweep_outlives_its_server_and_logs_every_trial_once_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, port, out = study(tmp_path / "study"), _free_port(), tmp_path / "out"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    more = ("--trials=6", "--epochs=60", "--concurrent=1")

    def logged() -> list[str]:
        client = open_store().client()
        experiments = [each.experiment_id for each in client.search_experiments()]
        return sorted(
            run.data.tags["ms2img.trial"]
            for run in client.search_runs(experiments, "tags.`ms2img.trial` != ''")
            if run.info.status == "FINISHED"
        )

    with _server(tmp_path, port) as server:
        _when_it_answers(tmp_path)
        with sweeping(options, out, *more) as process:
            wait_for(lambda: len(logged()) >= 2, process, 180)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            _, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert err.count("the tracking store no longer answers, the trials go on without it") == 1
    assert "nothing that was trained is lost; add --resume to the same command" in err
    assert set(statuses(out).values()) == {"finished"}
    with _server(tmp_path, port):
        _when_it_answers(tmp_path)
        assert 2 <= len(logged()) < 6
        with sweeping(options, out, *more, "--resume") as process:
            told, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        assert logged() == [str(number) for number in range(6)]
        [parent] = {
            run.data.tags["mlflow.parentRunId"]
            for run in open_store().client().search_runs(["1"], "tags.`ms2img.trial` != ''")
        }
        assert parent == json.loads(told)["run_id"]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """A real PostgreSQL server on loopback; its address."""
    pytest.importorskip("psycopg", reason="no driver of PostgreSQL: pip install psycopg[binary]")
    found = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if found is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    programs, data, port = Path(found).resolve().parent, tmp_path / "pg", _free_port()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        import pwd

        nobody = pwd.getpwnam("postgres")
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        data = Path(f"/tmp/ms2img-pg-{port}")  # noqa: S108 - pytest's own folder is closed to other users
        data.mkdir()
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data.parent}
    options = ["-D", str(data), "-U", "lab", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([programs / "initdb", *options], check=True, **quiet, **as_user)
    server = subprocess.Popen(
        [programs / "postgres", "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""], **quiet, **as_user
    )
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"postgresql+psycopg://lab:secret@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # its "fast shutdown"
        server.wait()
        shutil.rmtree(data, ignore_errors=True)


@pytest.mark.slow  # 10 s; needs a PostgreSQL
def test_twenty_trials_in_postgresql(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, records: tuple[SweepRecord, CvRecord]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres)
    monkeypatch.chdir(tmp_path)
    store = open_store()
    history = records[0].history.query("trial == 0")
    with pytest.raises(KeyboardInterrupt), open_sweep(store) as run:
        for number in range(12):
            log_trial(run, number, history)
        raise KeyboardInterrupt
    with open_sweep(store, run.run_id) as again:
        assert set(again.logged) == set(range(12))
        for number in range(20):
            log_trial(again, number, history)
        again.tag_best(again.logged[17], 17)
        again.log_sweep(records[0])
        again.log_record(records[1])
    children = trials_of(again)
    assert len(children) == 20
    assert [number for number, child in children.items() if "ms2img.best" in child.data.tags] == ["17"]
    assert children["19"].data.metrics["fold_2/train_loss"] == history.query("fold == 1")["train_loss"].iloc[-1]
    assert load_record(run.run_id).search is not None
    assert "secret" not in store.shown()
