"""Following a submitted job: its log as it is written, whatever becomes of the connection, and how it ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.job_errors import UnreachableError
from cluster.job_server import JobServer
from ms2img.errors import JobError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

PATIENCE_VARIABLE = "MS2IMG_FOLLOW_PATIENCE"  # seconds for which a job server may be away
PATIENCE_SECONDS = 600.0  # a new head node takes minutes (ours)
PAUSE_SECONDS = 2.0
CHECK_SECONDS = 20.0  # a log that is silent for so long: does the job server still answer?
STOPPED_STATUS = 143  # as of a process that was asked to end
LOST_STATUS = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """How a job ended: Ray's word, the exit status of its command, and why, where it has no exit status of its own."""

    state: str  # SUCCEEDED | FAILED | STOPPED
    status: int
    reason: str


def ended(job: JobDetails) -> Ended | None:
    """How a job ended; None while it has not."""
    if not job.status.is_terminal():
        return None
    state, code = str(job.status.value), job.driver_exit_code
    if state == "STOPPED":
        return Ended(state, STOPPED_STATUS, "stopped")
    if code is not None:
        return Ended(state, code if code >= 0 else 128 - code, "" if code >= 0 else f"killed by signal {-code}")
    if state == "SUCCEEDED":
        return Ended(state, 0, "")
    lines = (job.message or "").strip().splitlines() or ["no reason is known"]
    return Ended(state, LOST_STATUS, lines[0])


def follow(server: JobServer, job_id: str, write: Say, notice: Say) -> Ended:
    """Write the job's log as it comes until the job has ended.

    A lost connection is said once by `notice` and taken up again where the log stood.

    Raises `UsageError` for an unknown job, `JobError` when the job server stays away for ten minutes
    (``MS2IMG_FOLLOW_PATIENCE`` in seconds).
    """
    server.job(job_id)  # an unknown one is told at once
    log = _Log(server, job_id, write)
    away_since: float | None = None
    while True:
        try:
            asyncio.run(log.tail())
            log.rest()
            outcome = ended(server.job(job_id))
        except UnreachableError as error:
            if away_since is None:
                away_since = time.monotonic()
                notice(f"{error}; the job goes on, and so does this once it is back")
            elif time.monotonic() - away_since > _patience():
                raise JobError(
                    f"{error} for {_patience():.0f} s; the job may go on: ms2img jobs logs {job_id}"
                ) from None
            time.sleep(PAUSE_SECONDS)
            continue
        if away_since is not None:
            notice(f"{server.address}: the job server is back")
            away_since = None
        if outcome is not None:
            return outcome
        time.sleep(PAUSE_SECONDS)


class _Log:
    """The log of a job, written up to some character."""

    def __init__(self, server: JobServer, job_id: str, write: Say) -> None:
        self._server = server
        self._job_id = job_id
        self._write = write
        self._written = 0  # characters

    async def tail(self) -> None:
        """Write what comes until the job ends or the connection does.

        A connection can end without a word; so where nothing comes, the job server is asked whether it is there.
        """
        reading = asyncio.create_task(self._read())
        try:
            while not (await asyncio.wait({reading}, timeout=CHECK_SECONDS))[0]:
                job = await asyncio.to_thread(self._server.job, self._job_id)
                if ended(job) is not None:
                    await asyncio.wait({reading}, timeout=CHECK_SECONDS)
                    break
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading

    def rest(self) -> None:
        """Write what the log holds beyond what was written."""
        self._add(self._server.log(self._job_id), 0)

    async def _read(self) -> None:
        seen = 0
        async for text in self._server.tail(self._job_id):
            self._add(text, seen)
            seen += len(text)

    def _add(self, text: str, start: int) -> None:
        """Write the part of `text`, which begins at character `start` of the log, that was not written yet."""
        new = text[max(0, self._written - start) :]
        if new:
            self._write(new)
            self._written = max(self._written, start + len(text))


def _patience() -> float:
    try:
        return float(os.environ.get(PATIENCE_VARIABLE, PATIENCE_SECONDS))
    except ValueError:
        return PATIENCE_SECONDS
