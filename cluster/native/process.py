"""Processes of the stack: each service leads a session of its own, so that whatever it starts can be ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ms2img.errors import JobError
from ms2img.io.dataset.process import birth

GRACE_SECONDS = 10.0  # between being asked to end and being ended
START_SECONDS = 180.0  # for a service to answer, on a machine that is busy with other things
LOOK_SECONDS = 0.05
LOG_CHARACTERS = 300  # of the log's end that an error line shows
_SESSION, _STATE = 3, 0  # fields of /proc/PID/stat behind the command's name, see proc(5)


@dataclass(frozen=True)
class Service:
    """How a program of the stack is started, and asked whether it works."""

    name: str
    command: Sequence[str]
    answers: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class Started:
    """A process that was started; `born` tells it from a later one of the same number."""

    pid: int
    born: str

    def is_running(self) -> bool:
        """Whether it is still there."""
        return birth(self.pid) == self.born

    def session(self) -> list[int]:
        """Everything that is left of its session, itself included; a number is not given away while that is there."""
        if birth(self.pid) not in (self.born, None):
            return []  # another process's number by now
        return [pid for pid, session in _sessions() if session == self.pid]


def start(service: Service, log: Path) -> Started:
    """Start a service in a session of its own, its output appended to `log`.

    The caller's environment is passed on without what would lead to another cluster, tracking server or store.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "MLFLOW_", "PG"))}
    user = {} if service.user is None else {"user": service.user, "group": service.user, "extra_groups": []}
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            service.command,
            env={**kept, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            **user,  # type: ignore[call-overload]
        )
    return Started(process.pid, birth(process.pid) or "ended")


def wait_for(service: Service, started: Started, log: Path) -> None:
    """Wait until a service answers. Raises `JobError` with the end of its log when it ends before, or never does."""
    deadline = time.monotonic() + START_SECONDS
    while not service.answers():
        collect(started.pid)
        if not started.is_running() or time.monotonic() > deadline:
            said = " ".join(log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:].split())
            raise JobError(f"{service.name} does not start, see {log}: ...{said}")
        time.sleep(LOOK_SECONDS)


def end(started: Started, ends_on: signal.Signals = signal.SIGTERM, *, grace: float = GRACE_SECONDS) -> None:
    """Ask the process to end, then kill whatever is left of its session; returns when nothing is."""
    if started.is_running() and grace > 0:
        with suppress(ProcessLookupError):
            os.kill(started.pid, ends_on)
        deadline = time.monotonic() + grace
        while started.is_running() and time.monotonic() < deadline:
            collect(started.pid)
            time.sleep(LOOK_SECONDS)
    while left := started.session():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        collect(started.pid)
        time.sleep(LOOK_SECONDS)


def collect(pid: int) -> None:
    """Take notice of an ended child, if it is one: till then its number stays."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _sessions() -> list[tuple[int, int]]:
    """Every process that has not ended, with its session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[_STATE] not in "ZX":
                found.append((int(entry.name), int(fields[_SESSION])))
    return found
