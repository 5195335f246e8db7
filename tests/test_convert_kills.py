"""Exactly once: whatever is killed, and whenever, the same command gives the data set of an undisturbed run."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from conversions import (
    COMMAND,
    FAILURES,
    VICTIMS,
    below,
    conversion,
    data_set,
    finish,
    outside_ray,
    staged,
    strike,
    wait_for,
)

from ms2img.io.dataset.lease import LEASE_NAME
from ms2img.io.dataset.process import birth


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Its exit status and our lines; in the moment of a death Ray's core may add one of its own."""
    status, lines = finish(process)
    assert not any("Traceback" in line for line in lines), lines
    return status, [line for line in lines if line.startswith("ms2img: ")]


@pytest.mark.slow  # a minute; tests/test_convert_s3.py kills a conversion once
def test_struck_again_and_again_one_output_ends_as_if_undisturbed(undisturbed_conversion, tmp_path):
    """A miniature of the slow test, on one output; each job but the last is struck once there is something to lose."""
    sheet, expected = undisturbed_conversion
    out = tmp_path / "out"

    with conversion(sheet, out) as process:
        wait_for(lambda: staged(out), process)
        running = below(process.pid)
        assert "reader" in running.values()
        process.terminate()
        assert ended(process) == (143, ["ms2img: terminated; run the same command again to go on"])
        wait_until_gone(running)
    assert not (out / LEASE_NAME).exists()

    n_staged = len(staged(out))
    assert n_staged
    with conversion(sheet, out) as process:
        wait_for(lambda: len(staged(out)) > n_staged, process)
        strike(process, "driver")
        process.wait()
        assert not (out / "manifest.json").exists()
        assert (out / LEASE_NAME).exists()

    with conversion(sheet, out) as process:
        wait_for(lambda: "reader" in below(process.pid).values(), process)
        running = below(process.pid)
        strike(process, "worker")
        strike(process, "reader")
        strike(process, "raylet")
        status, ours = ended(process)
        wait_until_gone(running)
    assert status == 1
    assert len(ours) == 2, ours
    assert "took over the lease of process " in ours[0]
    assert "Ray has stopped" in ours[1]
    assert "the same command goes on from" in ours[1]
    assert not (out / LEASE_NAME).exists()

    with conversion(sheet, out) as process:
        wait_for(lambda: any(out.glob("images/part-*.parquet")), process)
        strike(process, "driver")  # between compaction and commit
        process.wait()

    with conversion(sheet, out) as process:
        assert finish(process)[0] == FAILURES
    assert data_set(out) == data_set(expected)


def wait_until_gone(processes: dict[int, str]) -> None:
    born = {pid: birth(pid) for pid in processes}
    deadline = time.monotonic() + 30
    while left := [kind for pid, kind in processes.items() if born[pid] and birth(pid) == born[pid]]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_of_two_jobs_at_once_the_second_is_refused_and_ctrl_c_ends_the_first(undisturbed_conversion, tmp_path):
    sheet, _ = undisturbed_conversion
    out = tmp_path / "out"
    with conversion(sheet, out) as first:
        wait_for((out / LEASE_NAME).exists, first)
        with conversion(sheet, out) as second:
            status, lines = finish(second)
        assert status == 2
        assert f"another job is writing here: process {first.pid} on " in lines[-1]
        wait_for(lambda: staged(out), first)
        first.send_signal(signal.SIGINT)
        assert ended(first) == (130, ["ms2img: interrupted; run the same command again to go on"])
    assert staged(out)
    assert not (out / LEASE_NAME).exists()


#: In a mount namespace of its own: a small disk, a conversion, then the same command after room was made.
FULL_DISK = """
set -e
mount -t tmpfs -o size=64k tmpfs "$OUT"
"$@" 2> "$LOG" && exit 90 || test $? = 1
test ! -e "$OUT/manifest.json"
mount -o remount,size=64m "$OUT"
"$@" 2>> "$LOG" || test $? = 3
cp -r "$OUT/." "$COPY"
"""


def test_a_full_disk_ends_the_job_in_a_line_and_room_lets_it_go_on(undisturbed_conversion, tmp_path):
    sheet, expected = undisturbed_conversion
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no right to a mount namespace (unshare -rm)")
    out, copy, log = tmp_path / "out", tmp_path / "copy", tmp_path / "log"
    out.mkdir()
    copy.mkdir()
    command = [*COMMAND, "convert", str(sheet), str(out), "--size", "75x70", "--quiet"]
    environment = {"OUT": str(out), "COPY": str(copy), "LOG": str(log)}
    subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", *command],
        env={**outside_ray(), **environment},
        check=True,
        timeout=200,
    )
    first = next(line for line in log.read_text().splitlines() if line.startswith("ms2img: "))
    assert "no space left on device" in first
    assert "the same command goes on from" in first
    assert data_set(copy) == data_set(expected)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(undisturbed_conversion, tmp_path):
    """Every kind of process, at moments drawn over the length of a job; the seed is fixed.

    A moment is a number of newly staged files and a pause, so that a slow machine is struck where a fast one is: before
    Ray has started, at work, or while shards are made. A job that is struck either finishes by itself (a worker or
    reader was replaced), or ends and is run again; when the data set is there it is compared and a new one begun, so
    that kills fall on fresh and on resumed jobs.
    """
    sheet, expected = undisturbed_conversion
    draw = random.Random(20)  # noqa: S311
    out, number = tmp_path / "out 0", 0
    for kill in range(20):
        victim, new_files, pause = VICTIMS[kill % len(VICTIMS)], draw.randint(0, 10), draw.uniform(0, 1)
        moment = f"kill {kill}: {victim} at {new_files} staged files and {pause:.2f} s, output {number}"
        before = len(staged(out))
        with conversion(sheet, out) as process:
            while process.poll() is None and len(staged(out)) < before + new_files:
                time.sleep(0.005)
            time.sleep(pause)
            while process.poll() is None and not strike(process, victim):
                time.sleep(0.005)
            status, lines = finish(process)
        # When its raylet or GCS dies, Ray's core may end the driver by itself, before a line of ours: the lease of that
        # dead process is then taken over, and the data set is what counts.
        assert status in (FAILURES, 1, -signal.SIGKILL, -signal.SIGABRT), (moment, lines)
        by_ray = any(re.match(r"\[\d{4}-\d\d-\d\d .* [EC] ", line) for line in lines)
        said = any("the same command goes on from" in line for line in lines)
        assert status != 1 or said or by_ray, (moment, lines)
        assert not any("Traceback" in line for line in lines), (moment, lines)
        if (out / "manifest.json").exists() and status == FAILURES:
            assert data_set(out) == data_set(expected), moment
            number += 1
            out = tmp_path / f"out {number}"
    with conversion(sheet, out) as process:
        assert finish(process)[0] == FAILURES
    assert data_set(out) == data_set(expected)
