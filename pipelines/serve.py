"""``ms2img serve``: a registered model behind MLflow's own scoring server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import JobError, UsageError
from ms2img.places import MODEL_NAMES, Reads
from pipelines.command import Output, Result

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where to ask a server that listens everywhere)
LOOK_SECONDS = 0.2
END_SECONDS = 10.0  # for the server to finish the requests it has; then it is killed


class ServeConfig(Config):
    """Options of ``ms2img serve``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-dpph@champion), models:/NAME/VERSION, a run id, or a "
        "model folder"
    )
    host: str = Field("127.0.0.1", description="address to listen at; whoever reaches it may ask, and have files read")
    port: int = Field(5001, ge=1, le=65535, description="port to listen at")


def serve(config: ServeConfig, output: Output) -> Result:
    """Serve a model over HTTP by MLflow's own scoring server, until Ctrl-C; requests as in docs/serve.md."""
    from ms2img.tracking.pull import pulled
    from ms2img.tracking.serving import require_server, server_command, write_served

    require_server()
    _require_free(config.host, config.port)
    with tempfile.TemporaryDirectory(prefix="ms2img-") as scratch:
        folder = Path(scratch) / "model"
        with pulled(config.model) as (bundle, source):
            write_served(folder, bundle)
        address = _address(config.host, config.port)
        with _running(server_command(folder, config.host, config.port), quiet=output.quiet) as server:
            _wait_until_ready(server, address)
            output.say(f"serving {source.uri} at {address} (POST /invocations; GET /ping, /version); Ctrl-C ends it")
            server.wait()
    raise JobError(f"the server ended by itself, with status {server.returncode}")


@contextlib.contextmanager
def _running(command: list[str], *, quiet: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The server in a process group of its own, all of which is gone after the block.

    Its log goes to standard error, under ``--quiet`` nowhere.
    """
    from ms2img.tracking.serving import server_environment

    log = subprocess.DEVNULL if quiet else sys.stderr
    process = subprocess.Popen(  # noqa: S603 (our own command)
        command,
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is ours to answer
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and what it has started: asked first, then killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            process.poll()  # a child that has ended is in its group until it is collected
            os.killpg(process.pid, 0)
            time.sleep(LOOK_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Ask the server until it answers. Raises `JobError` when it ends first."""
    while server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{address}/ping", timeout=5).close()  # noqa: S310 (ours, http)
            return
        time.sleep(LOOK_SECONDS)
    raise JobError(f"the server did not start: it ended with status {server.returncode}; its log says why")


def _require_free(host: str, port: int) -> None:
    """Raise `UsageError` unless this process may listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(f"--host {host} --port {port}: cannot listen there: {error.strerror or error}") from None


def _address(host: str, port: int) -> str:
    name = ANYWHERE.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
