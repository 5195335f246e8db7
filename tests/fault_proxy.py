"""An HTTP proxy before an S3 server that drops, delays, stalls and answers 503, by a plan.

::

    with fault_proxy(s3.endpoint, first(2, Refuse(503))) as proxy:
        behind = s3.through(proxy.url)          # behind.environment leads every client through the proxy
        ...
        assert len(proxy.requests) == 3         # what came, and what was done to it
"""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "content-length"})


@dataclass(frozen=True)
class Refuse:
    """Answer with a status and an S3 error body, without asking the server."""

    status: int = 503
    code: str = "SlowDown"


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer; the server never hears of the request."""


@dataclass(frozen=True)
class DropAnswer:
    """Let the server do it, then close the connection after so many bytes of the answer's body (None: before all)."""

    after: int | None = None


@dataclass(frozen=True)
class CutUpload:
    """Pass on the first half of the request's body, then close both connections."""


@dataclass(frozen=True)
class Delay:
    """Hold the request back for so many seconds, then pass it on."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Say nothing for so many seconds, then close: what a client's timeout is for."""

    seconds: float = 60.0


Fault = Refuse | Drop | DropAnswer | CutUpload | Delay | Stall


@dataclass(frozen=True)
class Request:
    """One request as it came, and what was done to it."""

    method: str
    path: str
    fault: Fault | None = None


Plan = Callable[[Request], Fault | None]


def nothing(request: Request) -> Fault | None:
    """No fault ever."""
    return None


def always(fault: Fault) -> Plan:
    """The fault for every request."""
    return lambda request: fault


def first(n: int, fault: Fault, where: Callable[[Request], bool] = lambda request: True) -> Plan:
    """The fault for the first n requests that `where` is true of."""
    lock, left = threading.Lock(), [n]

    def plan(request: Request) -> Fault | None:
        with lock:
            if not where(request) or left[0] == 0:
                return None
            left[0] -= 1
            return fault

    return plan


def share(part: float, seed: int, *faults: Fault) -> Plan:
    """One of `faults` for a random, seeded share of all requests; by default a drop, a lost answer or a 503."""
    lock, rng = threading.Lock(), random.Random(seed)  # noqa: S311
    kinds = faults or (Refuse(), Drop(), DropAnswer(after=1), Delay(0.05), Refuse(500, "InternalError"))

    def plan(request: Request) -> Fault | None:
        with lock:
            return rng.choice(kinds) if rng.random() < part else None

    return plan


@dataclass
class FaultProxy:
    """A running proxy. `plan` may be changed while it runs."""

    url: str
    upstream: str
    plan: Plan
    requests: list[Request] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def faults(self) -> list[Request]:
        """The requests that something was done to."""
        return [request for request in self.requests if request.fault is not None]


@contextmanager
def fault_proxy(upstream: str, plan: Plan = nothing) -> Iterator[FaultProxy]:
    """A proxy on loopback before `upstream` (``http://host:port``), for the length of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.block_on_close = False
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}", upstream, plan)
    server.proxy = proxy  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client; requests go upstream unchanged but for the hop-by-hop headers, so signatures hold."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this each answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        proxy: FaultProxy = self.server.proxy  # type: ignore[attr-defined]
        seen = Request(self.command, self.path)
        fault = proxy.plan(seen)
        proxy.requests.append(Request(self.command, self.path, fault))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if isinstance(fault, Drop):
            self.close_connection = True
        elif isinstance(fault, Stall):
            proxy.stopping.wait(fault.seconds)
            self.close_connection = True
        elif isinstance(fault, Refuse):
            text = f"<Error><Code>{fault.code}</Code><Message>{fault.code} by the proxy</Message></Error>".encode()
            self._answer(fault.status, fault.code, [("Content-Type", "application/xml")], text)
        elif isinstance(fault, Delay) and proxy.stopping.wait(fault.seconds):
            self.close_connection = True
        else:
            self._pass_on(proxy.upstream, body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the base class's names

    def _pass_on(self, upstream: str, body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_HEADERS:
                    connection.putheader(name, value)
            if "Content-Length" in self.headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if isinstance(fault, CutUpload):
                connection.send(body[: len(body) // 2])
                self.close_connection = True
                return
            connection.send(body)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the server is gone: so is this connection
            return
        finally:
            connection.close()
        if isinstance(fault, DropAnswer) and fault.after is None:
            self.close_connection = True
            return
        length = answer.headers.get("Content-Length", str(len(content)))
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS]
        cut = fault.after if isinstance(fault, DropAnswer) else None
        self._answer(answer.status, answer.reason, headers, content, length=length, cut=cut)

    def _answer(
        self,
        status: int,
        reason: str,
        headers: list[tuple[str, str]],
        content: bytes,
        *,
        length: str | None = None,
        cut: int | None = None,
    ) -> None:
        with suppress(OSError):  # a client that has given up
            self.send_response_only(status, reason)
            for name, value in headers:
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:cut])
            self.wfile.flush()
        if cut is not None:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # a client that has given up
            super().handle()
