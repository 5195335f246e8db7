"""Reading under limits: a file that hangs, crashes or floods its reader costs its own runs, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mgf_files import fat, good, group, readers_of, run, slow

from ms2img.errors import Code
from ms2img.io.dataset.process import birth, resident_bytes
from ms2img.io.dataset.sources import hash_file, source_fingerprint
from ms2img.io.read import read_run
from ms2img.io.sheet import Run
from ms2img.ms2toimg.convert import image_row
from ms2img.ms2toimg.convert_group import convert_group
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.reader import Limits, Reader

CONFIG = RenderConfig(height=75, width=70)
ROOMY = Limits(seconds=120, bytes=4 << 30)


def fingerprint(run: Run) -> str:
    quant = hash_file(run.quant_path) if run.quant_path else None
    return source_fingerprint(hash_file(run.path), quant, run.column)


@pytest.fixture
def reader():
    reader = Reader()
    yield reader
    reader.close()


@contextmanager
def struck(path: Path, blow: signal.Signals, times: int) -> Iterator[list[int]]:
    """Whoever opens the file gets the signal, each process once, up to `times` processes; yields those struck."""
    victims: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set() and len(victims) < times:
            for pid in readers_of(path):
                if pid not in victims:
                    os.kill(pid, blow)
                    victims.append(pid)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield victims
    finally:
        stop.set()
        watcher.join()


def study(tmp_path: Path, bad: Path) -> list:
    """A bad run between good ones."""
    before, after = good(tmp_path / "before.mgf"), good(tmp_path / "after.mgf", 512.0)
    return [group(run(before)), group(run(bad)), group(run(after))]


def codes(outcomes) -> dict[str, str]:
    return {o.run.sample_id: str(o.error.code) if o.error else "row" for o in outcomes}


def test_outcomes_are_what_this_process_would_make_of_the_files(tmp_path, reader):
    groups = study(tmp_path, good(tmp_path / "middle.mgf", 420.0))
    outcomes = list(reader.outcomes(groups, CONFIG, ROOMY))
    assert [outcome.run for outcome in outcomes] == [run for group in groups for run in group.runs]
    for outcome in outcomes:
        source = fingerprint(outcome.run)
        expected = image_row(outcome.run, read_run(outcome.run), CONFIG, source_fingerprint=source)
        np.testing.assert_array_equal(outcome.row.pop("image"), expected.pop("image"))
        assert outcome.row == expected
        assert outcome.sources[outcome.run.path].status == groups[0].statuses.get(outcome.run.path) or True
    child = reader._child.pid
    assert codes(reader.outcomes(groups[:1], CONFIG, ROOMY)) == {"before": "row"}
    assert reader._child.pid == child  # kept from call to call


def test_a_hanging_read_is_cut_off_and_costs_its_run_only(tmp_path, reader):
    bad = slow(tmp_path / "bad.mgf")
    groups = study(tmp_path, bad)
    list(reader.outcomes(groups[:1], CONFIG, ROOMY))  # the time limit is for reading, not for a cold start
    with struck(bad, signal.SIGSTOP, 1) as victims:
        outcomes = list(reader.outcomes(groups, CONFIG, Limits(8, 4 << 30)))
    assert codes(outcomes) == {"before": "row", "bad": "time-limit", "after": "row"}
    error = outcomes[1].error
    assert "within 8 s; raise --time-limit" in error.message
    assert error.path == str(bad)
    assert [birth(pid) for pid in victims] == [None]  # the stopped process is gone


def test_a_file_that_crashes_its_reader_twice_is_named(tmp_path, reader):
    bad = slow(tmp_path / "bad.mgf")
    with struck(bad, signal.SIGSEGV, 2) as victims:
        outcomes = list(reader.outcomes(study(tmp_path, bad), CONFIG, ROOMY))
    assert codes(outcomes) == {"before": "row", "bad": "crashed", "after": "row"}
    assert "was ended by SIGSEGV" in outcomes[1].error.message
    assert len(victims) == 2


def test_a_reader_killed_once_by_somebody_else_costs_nothing(tmp_path, reader):
    unlucky = slow(tmp_path / "unlucky.mgf")
    with struck(unlucky, signal.SIGKILL, 1) as victims:
        outcomes = list(reader.outcomes(study(tmp_path, unlucky), CONFIG, ROOMY))
    assert codes(outcomes) == {"before": "row", "unlucky": "row", "after": "row"}
    assert len(victims) == 1


def test_a_file_that_floods_memory_is_cut_off(tmp_path, reader):
    groups = study(tmp_path, fat(tmp_path / "fat.mgf"))
    list(reader.outcomes(groups[:1], CONFIG, ROOMY))
    enough = (resident_bytes(reader._child.pid) >> 20) + 30  # MiB: for small files, in a reader that has drawn one
    outcomes = list(reader.outcomes(groups, CONFIG, Limits(120, enough << 20)))
    assert codes(outcomes) == {"before": "row", "fat": "memory-limit", "after": "row"}
    assert f"allowed are {enough}; raise --memory-limit" in outcomes[1].error.message


def aligned(path: Path, columns: int) -> Path:
    """An MS-DIAL alignment of three features."""
    names = [f"run{n}" for n in range(columns)]
    head = ["Alignment ID", "Average Rt(min)", "Average Mz", "Adduct type", "MS/MS spectrum"]
    blank = [""] * (len(head) - 1)
    rows = [[*blank, "Class", *["A"] * columns], [*blank, "File type", *["Sample"] * columns]]
    rows.append([*head, *names])
    for feature in range(3):
        heights = [str(1000 + feature * n) for n in range(columns)]
        rows.append([str(feature), "1.5", str(300.5 + feature), "[M+H]+", "120.5:40 150.1:60", *heights])
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    return path


def test_runs_of_one_table_are_read_once_and_fail_together_when_that_read_fails(tmp_path, reader):
    table = aligned(tmp_path / "table.txt", 6)
    runs = [run(table, f"s{n}", column=f"run{n}") for n in range(6)]
    runs.append(run(table, "lost", column="run99"))
    outcomes = list(reader.outcomes([group(*runs)], CONFIG, ROOMY))
    assert codes(outcomes) == {**{f"s{n}": "row" for n in range(6)}, "lost": "no-column"}
    assert sum(outcome.read_seconds > 0 for outcome in outcomes) == 1
    assert len({outcome.identity for outcome in outcomes if outcome.row}) == 6

    long = slow(tmp_path / "long.mgf")  # one file under several names stands for a table that takes long
    shared = [run(long, name) for name in ("a", "b", "c")]
    with struck(long, signal.SIGSEGV, 2):
        outcomes = list(reader.outcomes([group(*shared), *study(tmp_path, table)[:1]], CONFIG, ROOMY))
    assert codes(outcomes) == {"a": "crashed", "b": "crashed", "c": "crashed", "before": "row"}


def test_a_row_that_is_held_is_neither_read_nor_drawn(tmp_path):
    path = good(tmp_path / "a.mgf")
    [first] = convert_group(group(run(path)), CONFIG)
    planned = group(run(path))
    os.utime(path, ns=(1, 1))  # the time of change alone is another: the content decides
    held = {"a": (first.identity,)}
    [again] = convert_group(type(planned)(planned.runs, group(run(path)).statuses, {}, held), CONFIG)
    assert (again.row, again.error, again.identity) == (None, None, first.identity)
    assert again.sources[str(path)].status.version == "1"


def test_a_file_that_changes_between_plan_and_read_is_read_as_it_is_now(tmp_path):
    path = good(tmp_path / "a.mgf")
    planned = group(run(path))
    good(path, 700.0)
    [outcome] = convert_group(planned, CONFIG)
    assert outcome.sources[str(path)].status == group(run(path)).statuses[str(path)]
    assert outcome.row["source_fingerprint"] == fingerprint(run(path))


def test_a_file_that_never_rests_is_refused(tmp_path, monkeypatch):
    from ms2img.io import storage

    path = good(tmp_path / "a.mgf")
    planned = group(run(path))
    real = storage.status

    def restless(location: str):
        os.utime(location, ns=(time.time_ns(), time.time_ns()))
        return real(location)

    monkeypatch.setattr(storage, "status", restless)
    [outcome] = convert_group(planned, CONFIG)
    assert outcome.error.code is Code.UNREADABLE
    assert "changes while it is read" in outcome.error.message


def test_the_reader_dies_with_its_owner_even_while_it_is_stopped(tmp_path):
    script = (
        "import time; from pipelines.conversion.reader import Child\n"
        "child = Child(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        owner.kill()
    deadline = time.monotonic() + 20
    while birth(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
