"""What strikes a cluster, and what becomes of the job: it finishes, or says why in a line and a re-run finishes it;
in both cases with the result of an undisturbed run. ``docs/reliability.md`` tells what was seen."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_laboratory import KINDS, Laboratory, lead_to, tell
from fault_proxy import Refuse, always, fault_proxy, nothing
from native_jobs import wait_until

from cluster.native import native_cluster
from cluster.native.ray_node import Worker

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

OUTAGE_SECONDS = 60.0


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("faults")
    with fault_proxy("http://127.0.0.1:9") as proxy, native_cluster(folder / "c", s3_endpoint=proxy.url) as stack:
        proxy.upstream = f"http://{stack.address('s3')}"
        yield Laboratory(stack, proxy, folder)


@pytest.fixture
def lab(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """The laboratory, mended after the test before; this process's environment leads to its store."""
    stack = laboratory.stack
    laboratory.proxy.plan = nothing
    lead_to(stack, monkeypatch)
    for name, runs in stack.running().items():
        if not runs:
            stack.start(name)
    wait_until(lambda: stack.alive_nodes() == 3)
    return laboratory


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_of_a_worker_node(lab: Laboratory, kind: str) -> None:
    seen = lab.struck(kind, lambda: lab.stack.kill_worker(1), lambda: None)
    tell("kill -9 of a worker node", kind, seen)


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_of_the_head_which_comes_back(lab: Laboratory, kind: str) -> None:
    tell("kill -9 of the head", kind, lab.struck(kind, lab.stack.kill_head, lab.stack.start_head))
    wait_until(lambda: lab.stack.alive_nodes() == 3)  # the workers have found the new head by themselves


@pytest.mark.parametrize("kind", ["train", "sweep", "study"])
def test_tracking_server_and_database_stop_for_a_while(lab: Laboratory, kind: str) -> None:
    def strike() -> None:
        lab.stack.stop("mlflow")
        lab.stack.stop("postgres")
        time.sleep(OUTAGE_SECONDS)

    def mend() -> None:
        lab.stack.start("postgres")
        lab.stack.start("mlflow")

    tell("MLflow and PostgreSQL stopped", kind, lab.struck(kind, strike, mend))


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_answers_503_for_a_while(lab: Laboratory, kind: str) -> None:
    def strike() -> None:
        lab.proxy.plan = always(Refuse(503))
        time.sleep(OUTAGE_SECONDS)

    def mend() -> None:
        lab.proxy.plan = nothing

    tell("S3 answers 503", kind, lab.struck(kind, strike, mend))
    if kind != "train":  # which has read all of it before
        assert any(isinstance(request.fault, Refuse) for request in lab.proxy.requests)


#: A command in a mount namespace with small disks at the places named; the disks are filled from outside.
SMALL_DISKS = 'for place in $PLACES; do mkdir -p "$place"; mount -t tmpfs -o size=24m tmpfs "$place"; done; exec "$@"'


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_whose_disk_is_full(lab: Laboratory, kind: str, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("no right to a mount namespace (unshare -m)")
    stack = lab.stack
    lab.job(kind)
    places = [tmp_path / "tmp", stack.home / f"worker-{1 + sum(name.startswith('worker') for name in stack.ports)}"]
    disks = ("env", f"PLACES={places[0]} {places[1]}", f"TMPDIR={places[0]}")
    number = stack.add_worker(Worker(wrapper=(*disks, "unshare", "-m", "sh", "-c", SMALL_DISKS, "sh")))
    pid = stack.leader(f"worker-{number}")

    def fill() -> None:
        for place in places:
            file = Path(f"/proc/{pid}/root{place}/filling")
            with pytest.raises(OSError, match="No space left"), file.open("wb", buffering=0) as filling:
                while filling.write(b"\0" * 100_000):
                    pass

    stack.kill_worker(1)
    stack.kill_worker(2)
    try:
        wait_until(lambda: stack.alive_nodes() == 2)
        seen = lab.struck(kind, fill, lambda: stack.start("worker-1"))
    finally:
        stack.forget_worker(number)
    tell("a worker's disk is full", kind, seen)
