"""Reading under limits: a child process that opens the files, watched by the one that would lose more.

The child costs a socket message a run. When a run takes too long or too much memory, or crashes its reader, the child
is ended and that run is a failure; the others go on in a new child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from ms2img.errors import Code, JobError, RunError
from ms2img.io.dataset.process import resident_bytes
from ms2img.io.sheet import Run
from ms2img.ms2toimg.convert_group import Outcome, RunGroup
from ms2img.ms2toimg.render_config import RenderConfig
from pipelines.conversion.child import ONE_THREAD

LOOK_SECONDS = 0.1  # between two looks at the child's memory (ours): a reader grows by some 100 MB in it
START_SECONDS = 120.0  # for a child to import what it needs, on a busy machine (ours)


@dataclass(frozen=True)
class Limits:
    """What one run may take: seconds for reading and drawing it, and bytes of the process that does."""

    seconds: float
    bytes: int


class _Ended(Exception):  # noqa: N818 (not an error: the child's end, to be laid at a run's door)
    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Child:
    """One reader process. `is_fresh` until it has finished a run: what it does then is that run's doing alone."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", "pipelines.conversion.child", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._connection = Connection(ours.detach())
        self.pid = self._process.pid
        self.is_fresh = True
        try:
            self.receive(Limits(START_SECONDS, sys.maxsize))
        except _Ended as ended:
            self.end()
            raise JobError(f"the reader process does not start: {ended.message}") from None

    def send(self, groups: Sequence[RunGroup], config: RenderConfig) -> None:
        """Hand over work."""
        with contextlib.suppress(ConnectionError):  # the next receive tells
            self._connection.send((tuple(groups), config))

    def receive(self, limits: Limits) -> Outcome | int | None:
        """The next message. Raises `_Ended` when the child is dead or over a limit; it is then to be ended."""
        deadline = time.monotonic() + limits.seconds
        try:
            while not self._connection.poll(LOOK_SECONDS):
                self._look(limits, deadline)
            message: Outcome | int | None = self._connection.recv()
        except (EOFError, ConnectionError):
            raise _Ended(Code.CRASHED, f"the process that read it {self._how_it_died()}") from None
        self._look(limits, float("inf"))
        return message

    def _look(self, limits: Limits, deadline: float) -> None:
        held = resident_bytes(self.pid)
        if held > limits.bytes:
            raise _Ended(
                Code.MEMORY_LIMIT,
                f"took {held / 2**20:.0f} MiB of memory to read or draw, allowed are {limits.bytes / 2**20:.0f}; "
                "raise --memory-limit",
            )
        if time.monotonic() > deadline:
            raise _Ended(
                Code.TIME_LIMIT,
                f"was not read and drawn within {limits.seconds:g} s; raise --time-limit if it is merely large",
            )

    def _how_it_died(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    def end(self) -> None:
        """Kill it and collect it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


class Reader:
    """Turns groups into outcomes, by a child that is kept from one call to the next."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def outcomes(self, groups: Sequence[RunGroup], config: RenderConfig, limits: Limits) -> Iterator[Outcome]:
        """An outcome for every run of the groups. Raises `JobError` when no reader process can be started.

        A limit is laid at the door of the run that was read or drawn; while files are read, of all the runs that share
        them. A death that nobody ordered, and memory that runs before may have left behind, are tried once more in a
        child that has done nothing else.
        """
        left = list(groups)
        tried: set[str] = set()
        while left:
            child = self._child = self._child or Child()
            child.send(left, config)
            at, is_read = -1, False  # the group in hand, by its number in `left`, and whether its files are read
            runs: dict[str, Run] = {}  # of that group, without an outcome yet
            try:
                while (message := child.receive(limits)) is not None:
                    if isinstance(message, int):
                        at, is_read = message, False
                        runs = {run.sample_id: run for run in left[at].runs}
                    else:
                        child.is_fresh, is_read = False, True
                        del runs[message.run.sample_id]
                        yield message
                return
            except _Ended as ended:
                self.close()
                # A reader that was found dead, stopped or too large: the second attempt at the first group will tell.
                has_begun = at >= 0
                at, runs = (at, runs) if has_begun else (0, {run.sample_id: run for run in left[0].runs})
                guilty = list(runs)[:1] if is_read else list(runs)
                may_be_innocent = not has_begun or _may_be_innocent(ended, child)
                if guilty and (tried.issuperset(guilty) or not may_be_innocent):
                    for sample in guilty:
                        run = runs.pop(sample)
                        yield Outcome(run, stage="read", error=RunError(ended.code, ended.message, path=run.path))
                tried.update(guilty)
                rest = [replace(left[at], runs=tuple(runs.values()))] if runs else []
                left = [*rest, *left[at + 1 :]]

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            self._child = None


def _may_be_innocent(ended: _Ended, child: Child) -> bool:
    """Whether a run that had begun deserves another attempt in a child of its own: see `Reader.outcomes`."""
    return ended.code is Code.CRASHED or (ended.code is Code.MEMORY_LIMIT and not child.is_fresh)
