"""The lease: two jobs never write one data set, and a dead job's lease is nobody's for long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset import lease as leases
from ms2img.io.dataset.lease import LEASE_NAME, STALE_SECONDS, Lease, Owner
from ms2img.io.dataset.process import birth, resident_bytes
from ms2img.io.storage import folder

#: Takes the lease of argv[1], says so, and holds it until its standard input ends; waits for a go where argv[2] is set.
HOLDER = """
import sys
from ms2img.errors import UsageError
from ms2img.io.dataset.lease import Lease
from ms2img.io.storage import folder
out, notices = folder(sys.argv[1]), []
if sys.argv[2:]:
    print("ready", flush=True)
    sys.stdin.readline()
try:
    with Lease(out, notices.append):
        print("held", *notices, flush=True)
        sys.stdin.readline()
except UsageError as error:
    print("refused", error, flush=True)
"""


def holder(location: str, *wait: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, location, *wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def told(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline().strip()
    assert line, "the process has ended"
    return line


def let_go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def no_notice(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(params=["local", "s3"])
def location(request, tmp_path):
    """A folder on a disk, or on a store with conditional writes."""
    if request.param == "local":
        return str(tmp_path / "out")
    request.getfixturevalue("s3_conditional")
    return "s3://bucket/out"


def test_a_second_job_is_refused_naming_the_first_until_that_lets_go(location):
    first = holder(location)
    assert told(first) == "held"
    with pytest.raises(UsageError, match=rf"another job is writing here: process {first.pid} on .+, since 2"):
        Lease(folder(location), no_notice).__enter__()
    let_go(first)
    assert first.wait(20) == 0
    with Lease(folder(location), no_notice) as lease:
        lease.require()
    assert folder(location).names() == {}


def test_the_lease_of_a_killed_job_is_taken_over_and_said_so(location):
    first = holder(location)
    assert told(first) == "held"
    first.kill()
    first.wait()
    notices = []
    with Lease(folder(location), notices.append) as lease:
        lease.require()
    [notice] = notices
    assert f"took over the lease of process {first.pid} on " in notice
    assert "no such process is left" in notice


def test_of_many_takers_of_one_dead_lease_exactly_one_wins(location):
    """Eight real processes, let loose together, three times over."""
    for _ in range(3):
        dead = replace(Owner.this_process(), pid=2**22 + 1)  # above the largest process number
        folder(location).write(LEASE_NAME, dead.content())
        takers = [holder(location, "wait") for _ in range(8 if "s3" not in location else 4)]
        assert {told(taker) for taker in takers} == {"ready"}
        for taker in takers:
            let_go(taker)
        answers = [told(taker) for taker in takers]
        assert sorted(answer.split()[0] for answer in answers) == ["held", *["refused"] * (len(takers) - 1)], answers
        [winner] = [taker for taker, answer in zip(takers, answers, strict=True) if answer.startswith("held")]
        assert all(f"process {winner.pid} " in answer for answer in answers if answer.startswith("refused"))
        let_go(winner)
        assert [taker.wait(20) for taker in takers] == [0] * len(takers)


def foreign(age: float) -> bytes:
    """A lease of another machine with a heartbeat this old, in seconds."""
    return replace(Owner.this_process(), host="elsewhere", heartbeat=time.time() - age).content()


def test_another_machines_lease_holds_while_its_heartbeat_is_fresh(tmp_path):
    store = folder(str(tmp_path))
    store.write(LEASE_NAME, foreign(STALE_SECONDS / 2))
    with pytest.raises(UsageError, match=f"process {os.getpid()} on elsewhere"):
        Lease(store, no_notice).__enter__()
    store.write(LEASE_NAME, foreign(STALE_SECONDS + 30))
    notices = []
    with Lease(store, notices.append):
        pass
    assert "no sign of life for 15" in notices[0]


def test_a_number_given_to_a_new_process_is_not_the_owner(tmp_path):
    store = folder(str(tmp_path))
    store.write(LEASE_NAME, replace(Owner.this_process(), birth="another boot/17").content())
    with Lease(store, lambda _: None) as lease:
        lease.require()


def test_a_process_in_another_container_is_not_looked_for_here(tmp_path):
    """Two containers may share a host name; their process numbers mean nothing to each other."""
    store = folder(str(tmp_path))
    store.write(LEASE_NAME, replace(Owner.this_process(), namespace="pid:[1]", pid=2**22 + 1).content())
    with pytest.raises(UsageError, match="another job is writing here"):
        Lease(store, no_notice).__enter__()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", json.dumps({"host": 1}).encode()])
def test_a_damaged_lease_is_nobodys(tmp_path, content):
    store = folder(str(tmp_path))
    store.write(LEASE_NAME, content)
    notices = []
    with Lease(store, notices.append):
        pass
    assert "took over the lease of an unknown job: its file is damaged" in notices[0]


def test_the_heartbeat_is_renewed_and_a_lost_lease_commits_nothing(location, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    store = folder(location)
    with Lease(store, no_notice) as lease:
        first = Owner.parse(store.read(LEASE_NAME))
        deadline = time.monotonic() + 20
        while Owner.parse(store.read(LEASE_NAME)).heartbeat == first.heartbeat:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lease.require()
        thief = replace(Owner.this_process(), host="elsewhere")
        store.write(LEASE_NAME, thief.content())
        with pytest.raises(JobError, match="the lease is lost .another job has taken it over.; nothing is committed"):
            lease.require()
    assert Owner.parse(store.read(LEASE_NAME)) == thief  # what is not ours is not released


def test_a_store_without_conditional_writes_is_said_to_keep_no_lease(s3):
    notices = []
    with Lease(folder("s3://bucket/out"), notices.append) as lease:
        lease.require()
        with pytest.raises(UsageError, match="another job is writing here"):
            Lease(folder("s3://bucket/out"), lambda _: None).__enter__()
    assert "no conditional writes" in notices[0]
    assert s3.keys("bucket/out") == []


def test_birth_tells_processes_apart_and_sees_their_end():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        born = birth(process.pid)
        assert born == birth(process.pid) != birth(os.getpid())
        assert resident_bytes(os.getpid()) > 20e6
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while birth(process.pid) is not None:  # a zombie: it has ended and is not collected
            assert time.monotonic() < deadline
    assert birth(process.pid) is None
    assert resident_bytes(process.pid) == 0


def test_an_owner_survives_its_file():
    owner = Owner.this_process()
    assert Owner.parse(owner.content()) == owner
    assert set(asdict(owner)) == {"host", "namespace", "pid", "birth", "token", "started", "heartbeat"}
    assert owner.why_dead() is None
