"""A real Ray head with its job server and token auth, in processes of its own, for one test module."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ray  # noqa: F401 - brings psutil, which `_end` needs
from s3_servers import free_port

START_SECONDS = 180.0
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class RayHead:
    """A running head: the job server's address, the GCS's, the token's file, and where Ray keeps its logs."""

    dashboard: str
    gcs: str
    token_path: Path
    folder: Path

    @property
    def token(self) -> str:
        return self.token_path.read_text()

    def variables(self) -> dict[str, str]:
        """What a user of the cluster has in the environment."""
        return {"RAY_API_SERVER_ADDRESS": self.dashboard, "RAY_AUTH_TOKEN_PATH": str(self.token_path)}

    @contextmanager
    def worker(self, *, hidden: Path | None = None) -> Iterator[None]:
        """Another node of the cluster for the length of the block; `hidden`: a folder it has one of its own for."""
        options = [f"--address={self.gcs}", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--block", *_ports()]
        log = self.folder / "worker.log"
        with _running(["start", *options], log, _variables(self.token_path), hidden=hidden) as process:
            _wait(lambda: self.nodes() > 1, process, log)
            yield

    def nodes(self) -> int:
        """Nodes that are alive, as the job server tells."""
        import requests

        headers = {"Authorization": f"Bearer {self.token}"}
        query = {"filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE"}
        answer = requests.get(f"{self.dashboard}/api/v0/nodes", params=query, headers=headers, timeout=30)
        return len(answer.json()["data"]["result"]["result"])


@contextmanager
def ray_head(environment: Mapping[str, str] | None = None) -> Iterator[RayHead]:
    """A head with two CPUs on free ports; `environment`: what its node has, such as the keys of a store."""
    folder = Path(tempfile.mkdtemp(prefix="m2i-", dir="/tmp"))  # Ray's sockets need a short path
    token_path, gcs, dashboard = folder / "token", free_port(), free_port()
    token_path.write_text(secrets.token_hex(16))
    token_path.chmod(0o600)
    command = [
        "start", "--head", "--block", "--port", str(gcs), "--node-ip-address", "127.0.0.1", "--num-cpus", "2",
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard), "--temp-dir", str(folder / "ray"),
        "--ray-client-server-port", str(free_port()), "--labels", "ms2img.io/role=head,ray.io/market-type=on-demand",
        "--disable-usage-stats", *_ports(),
    ]  # fmt: skip
    head = RayHead(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", token_path, folder)
    variables = {**_variables(token_path), **(environment or {})}
    try:
        with _running(command, folder / "head.log", variables) as process:
            _wait(lambda: head.nodes() == 1, process, folder / "head.log")
            yield head
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ports() -> list[str]:
    """Free ports for what would else be taken at fixed ones."""
    names = (
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "runtime-env-agent-port",
        "metrics-export-port",
    )
    return [*(f"--{name}={free_port()}" for name in names), f"--object-store-memory={100 * 2**20}"]


def _variables(token_path: Path) -> dict[str, str]:
    """The environment of a node: none of this process's own settings of stores and clusters."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MLFLOW_", "RAY_", "MS2IMG_", "PYTEST_"))
    }
    return {
        **own, "PATH": f"{BIN}:{own['PATH']}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path),
        "OMP_NUM_THREADS": "1", "MS2IMG_PROFILE": "",
    }  # fmt: skip


@contextmanager
def _running(
    arguments: list[str], log: Path, variables: Mapping[str, str], *, hidden: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(BIN / "ray"), *arguments]
    if hidden is not None:  # an empty disk of its own over that folder, in a mount namespace
        command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden), *command]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=dict(variables), start_new_session=True)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Ray's processes: those below the one that we started, whatever sessions they have made."""
    import psutil

    with suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
        for each in below:
            with suppress(psutil.Error):
                each.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _wait(is_ready: object, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError, ValueError, KeyError, TypeError):
            if is_ready():  # type: ignore[operator]
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Ray did not start: {log.read_text()[-2000:]}")
        time.sleep(0.25)
