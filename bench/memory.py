"""Peak memory of a job's processes, sampled from /proc while it runs.

Proportional set size: what processes share counts once over all of them.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

KINDS = {"ray::": "worker", "pipelines.conversion.child": "reader"}
EVERY_SECONDS = 0.5


class PeakMemory:
    """Watch a process and its descendants for the length of the block; `peaks` then has MB by kind of process.

    "driver" is the process itself; "worker" and "reader" the largest single process of that kind; "all" their sum with
    everything else below the driver (Ray's own processes) at the worst moment.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peaks: dict[str, float] = {"driver": 0.0, "worker": 0.0, "reader": 0.0, "all": 0.0}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            total = 0.0
            for pid in _descendants(self._pid):
                size = _megabytes(pid)
                total += size
                kind = "driver" if pid == self._pid else _kind(pid)
                if kind is not None:
                    self.peaks[kind] = max(self.peaks[kind], size)
            self.peaks["all"] = max(self.peaks["all"], total)


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += parents.get(pid, [])
    return found


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)


def _kind(pid: int) -> str | None:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return None
    return next((kind for mark, kind in KINDS.items() if mark in command), None)
