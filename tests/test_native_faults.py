"""What strikes a cluster, and what becomes of the job: it finishes, or says why in a line and a re-run finishes it;
in both cases with the result of an undisturbed run. ``docs/reliability.md`` tells what was seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conversions import wait_for
from fault_jobs import Job, convert_job, study_job, sweep_job, train_job
from fault_proxy import FaultProxy, Refuse, always, fault_proxy, nothing
from native_jobs import wait_until

from cluster.native import Stack, native_cluster
from cluster.native.ray_node import Worker

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

OUTAGE_SECONDS = 8.0
PATIENCE = 400.0  # seconds for a job, on a machine that is busy with other tests
NOTICE = "no conditional writes"  # which every job says to this S3 server
KINDS = ("convert", "train", "sweep", "study")


@dataclass
class Laboratory:
    """A cluster, the proxy before its store, and its jobs with what they give undisturbed."""

    stack: Stack
    proxy: FaultProxy
    folder: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    expected: dict[str, object] = field(default_factory=dict)
    outputs: int = 0

    def job(self, kind: str) -> Job:
        if kind not in self.jobs:
            makers: dict[str, Callable[[], Job]] = {
                "convert": lambda: convert_job(self.stack, self.folder),
                "train": lambda: train_job(self.stack, self.folder),
                "sweep": lambda: sweep_job(self.stack, self.folder),
                "study": lambda: study_job(self.folder),
            }
            self.jobs[kind] = makers[kind]()
            out = self.new_output()
            status, told, lines = self.run(self.jobs[kind], out)
            assert status == self.jobs[kind].status, lines
            self.expected[kind] = self.jobs[kind].result(out, told)
            assert self.expected[kind]
        return self.jobs[kind]

    def new_output(self) -> str:
        self.outputs += 1
        return f"out-{self.outputs}"

    def run(self, job: Job, out: str, *more: str) -> tuple[int, str, list[str]]:
        """Undisturbed, to its end: exit status, standard output, lines of standard error."""
        with job.running(self.stack, out, *more) as process:
            told, error = process.communicate(timeout=PATIENCE)
        return process.returncode, told, error.splitlines()

    def struck(self, kind: str, strike: Callable[[], None], mend: Callable[[], None]) -> str:
        """Run a job, strike it at work, mend; then it has finished or is run again. How it ended, in words."""
        job, out = self.job(kind), self.new_output()
        with job.running(self.stack, out) as process:
            wait_for(lambda: job.is_at_work(out), process, PATIENCE)
            assert process.poll() is None
            strike()
            mend()
            told, error = process.communicate(timeout=PATIENCE)
        lines = error.splitlines()
        assert not any("Traceback" in line for line in lines), lines
        seen = "finished"
        if process.returncode != job.status:
            ours = [line for line in lines if line.startswith("ms2img: ") and NOTICE not in line]
            assert process.returncode == 1, (process.returncode, lines)
            assert len(ours) == 1, lines
            assert not any("internal error" in line for line in ours)
            status, told, lines = self.run(job, out, *job.resume)
            assert status == job.status, lines
            seen = f"said {ours or 'nothing'}, the re-run finished"
        assert job.result(out, told) == self.expected[kind]
        return seen


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
    for name, value in stack.environment().items():
        if name.startswith(("AWS_", "MLFLOW_")):
            monkeypatch.setenv(name, value)
    for name, runs in stack.running().items():
        if not runs:
            stack.start(name)
    wait_until(lambda: stack.alive_nodes() == 3)
    return laboratory


def tell(fault: str, kind: str, seen: str) -> None:
    """For the reader of ``pytest -rP``, and for docs/reliability.md."""
    print(f"{fault} | {kind} | {seen}")


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


@pytest.mark.parametrize("kind", ["convert", "train", "sweep"])
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


NAMESPACE = f"ms2img-{os.getpid()}"
NEAR, FAR = "198.18.77.1", "198.18.77.2"  # of the block that is kept for tests of networks, RFC 2544


@contextmanager
def far_network() -> Iterator[Callable[[], None]]:
    """A network namespace with the address `FAR`, reached from here as from `NEAR`; gives what cuts the wire."""
    if os.geteuid() or shutil.which("ip") is None or _ip("netns", "add", NAMESPACE):
        pytest.skip("no right to a network namespace (ip netns add)")
    within = ("netns", "exec", NAMESPACE, "ip")
    try:
        commands = (
            ("link", "add", "ms2img-near", "type", "veth", "peer", "name", "ms2img-far", "netns", NAMESPACE),
            ("addr", "add", f"{NEAR}/30", "dev", "ms2img-near"),
            ("link", "set", "ms2img-near", "up"),
            (*within, "addr", "add", f"{FAR}/30", "dev", "ms2img-far"),
            (*within, "link", "set", "ms2img-far", "up"),
            (*within, "link", "set", "lo", "up"),
        )
        assert not any(_ip(*command) for command in commands)
        yield lambda: None if _ip(*within, "link", "set", "ms2img-far", "down") == 0 else pytest.fail("not cut")
    finally:
        _ip("netns", "del", NAMESPACE)
        _ip("link", "del", "ms2img-near")


def _ip(*arguments: str) -> int:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode


def test_a_network_cut_between_head_and_worker(tmp_path: Path) -> None:
    with far_network() as cut, native_cluster(tmp_path / "c", workers=1, host=NEAR) as stack:
        laboratory = Laboratory(stack, FaultProxy("", "", nothing), tmp_path)
        number = stack.add_worker(Worker(host=FAR, wrapper=("ip", "netns", "exec", NAMESPACE)))
        assert stack.alive_nodes() == 3
        seen = laboratory.struck("convert", cut, lambda: None)
        wait_until(lambda: stack.alive_nodes() == 2)  # the head has given the far node up
        tell(f"network cut to worker {number}", "convert", seen)
