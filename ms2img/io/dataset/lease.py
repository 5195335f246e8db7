"""``.lease.json``: who is writing a data set, so that two jobs never write one at the same time.

A lease is taken by creating the file, which the store lets one job do. Its owner renews the heartbeat in it; a lease
whose owner is gone is taken over by a replacement that the store lets one job do. A store without conditional writes
gives no such promise: the lease is then a notice, and says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ms2img.errors import JobError, Ms2imgError, UsageError
from ms2img.io.dataset.process import birth, namespace
from ms2img.io.storage import Folder

LEASE_NAME = ".lease.json"
HEARTBEAT_SECONDS = 10.0  # (ours) often enough that a dead owner is known in two minutes, rare enough to cost nothing
STALE_SECONDS = 120.0  # (ours) a heartbeat this old is of a dead owner, unless it is seen to live on this machine


@dataclass(frozen=True)
class Owner:
    """What the file says: who holds the lease; `namespace` and `birth` as in `ms2img.io.dataset.process`.

    Times in seconds since 1970 by the owner's clock.
    """

    host: str
    namespace: str
    pid: int
    birth: str
    token: str
    started: float
    heartbeat: float

    @classmethod
    def this_process(cls) -> Self:
        """A new lease's owner."""
        now = time.time()
        born = birth(os.getpid()) or ""
        return cls(socket.gethostname(), namespace(), os.getpid(), born, uuid.uuid4().hex, now, now)

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """The owner a lease file names; None for a file that is none."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None

    def content(self) -> bytes:
        """The file's content."""
        return json.dumps(asdict(self), indent=2).encode()

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host}, since {since}"

    def why_dead(self) -> str | None:
        """Why the owner is taken for dead; None while it may live."""
        if (self.host, self.namespace) == (socket.gethostname(), namespace()):
            # A number that another process has been given since is born at another time.
            return None if birth(self.pid) == self.birth else "no such process is left"
        age = time.time() - self.heartbeat
        return f"no sign of life for {age:.0f} s" if age > STALE_SECONDS else None


class Lease:
    """The right to write a folder, for the length of the block.

    Raises `UsageError` on entering when another job holds it. `notice` is told what a person should know: a lease
    that was taken over, a store that cannot keep one.
    """

    def __init__(self, out: Folder, notice: Callable[[str], None]) -> None:
        self._out = out
        self._notice = notice
        self._owner = Owner.this_process()
        self._version = ""
        self._lost = ""
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        if not self._out.is_conditional:
            self._notice(
                f"{self._out.location}: this store has no conditional writes: nothing keeps two jobs that start in "
                "the same moment apart"
            )
        self._version = self._take()
        self._beat.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._beat.join()
        with contextlib.suppress(Ms2imgError):  # the store is away: the lease dies with this process
            if not self._lost and self._is_ours():
                self._out.delete([LEASE_NAME])

    def require(self) -> None:
        """Raise `JobError` unless the lease is still ours: asked right before a commit."""
        if self._lost or not self._is_ours():
            reason = self._lost or "another job has taken it over"
            raise JobError(f"{self._out.location}: the lease is lost ({reason}); nothing is committed by this job")

    def _take(self) -> str:
        version = self._out.create(LEASE_NAME, self._owner.content())
        if version is not None:
            return version
        # The version before the content: a change in between makes the replacement fail.
        found = self._out.names(LEASE_NAME).get(LEASE_NAME)
        content = self._out.read(LEASE_NAME)
        if found is None or content is None:  # released in this moment
            version = self._out.create(LEASE_NAME, self._owner.content())
        else:
            holder = Owner.parse(content)
            reason = holder.why_dead() if holder else "its file is damaged"
            if reason is None:
                raise self._refusal(holder)
            version = self._out.replace_if(LEASE_NAME, self._owner.content(), found.version)
            if version is not None:
                self._notice(f"{self._out.location}: took over the lease of {holder or 'an unknown job'}: {reason}")
        if version is None:  # another job was faster
            raise self._refusal(Owner.parse(self._out.read(LEASE_NAME) or b""))
        return version

    def _refusal(self, holder: Owner | None) -> UsageError:
        return UsageError(
            f"{self._out.location}: another job is writing here: {holder or 'started in this moment'}; "
            "wait for it, or give OUT another folder"
        )

    def _is_ours(self) -> bool:
        holder = Owner.parse(self._out.read(LEASE_NAME) or b"")
        return holder is not None and holder.token == self._owner.token

    def _renew(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            renewed = replace(self._owner, heartbeat=time.time())
            # The store may be away; the next beat, or the question before the commit, will tell.
            with contextlib.suppress(Ms2imgError):
                version = self._out.replace_if(LEASE_NAME, renewed.content(), self._version)
                if version is None and not self._is_ours():
                    self._lost = "another job has taken it over"
                    return
                self._version = version or self._version
