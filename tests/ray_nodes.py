"""Ray nodes as processes of their own on loopback, with token or TLS, labels and logical GPUs, for tests."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray._private.utils
from s3_servers import free_port

psutil = ray._private.utils.psutil  # it comes with Ray, which puts it on the path when it is imported

RAY = Path(sys.executable).with_name("ray")
START_SECONDS = 180
AGENT_PORTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


@dataclass
class RayNodes:
    """A cluster that is up. `environment`: for a driver, or another client."""

    folder: Path
    environment: dict[str, str]
    port: int
    dashboard: int
    processes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, role: str, market: str, *, cpus: int = 1, gpus: int = 0) -> list[Any]:
        """Start a worker node; its processes."""
        return self._start("--address", self.address, *_described(role, market, cpus, gpus))

    def start_head(self) -> None:
        ports = ("--port", self.port, "--dashboard-port", self.dashboard, "--ray-client-server-port", free_port())
        self._start("--head", "--dashboard-host", "127.0.0.1", *ports, *_described("head", "on-demand", 0, 0))

    def python(self, program: str, *, seconds: float = 180, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program as a driver of this cluster."""
        environment = {**self.environment, "RAY_ADDRESS": self.address, **more}
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=seconds
        )

    def stop(self) -> None:
        """End every process of the cluster, and only those."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.folder) in " ".join(process.cmdline()):
                    self.processes.append(process)
        ends = [child for process in self.processes for child in _family(process)]
        for process in ends:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(ends, timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: object) -> list[Any]:
        before = {process.pid for process in self._own()}
        # Ports and a folder of its own: nodes of one machine would delete each other's copies of a job's files.
        ports = (part for name in AGENT_PORTS for part in (f"--{name}", free_port()))
        own = ("--temp-dir", self.folder / f"n{len(self.processes)}", *ports)
        command = [RAY, "start", "--node-ip-address", "127.0.0.1", "--disable-usage-stats", *own, *options]
        log = self.folder / "start.txt"  # a pipe would stay open with what it has started
        started = subprocess.run(
            [str(part) for part in command],
            env=self.environment, stdout=log.open("w"), stderr=subprocess.STDOUT, timeout=START_SECONDS,
        )  # fmt: skip
        assert started.returncode == 0, log.read_text()
        new = [process for process in self._own() if process.pid not in before]
        self.processes += new
        return new

    def _own(self) -> list[Any]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.folder) in " ".join(process.cmdline()):
                    found.append(process)
        return found


@contextmanager
def ray_nodes(variables: Mapping[str, str] | None = None) -> Iterator[RayNodes]:
    """A head without CPUs, guarded by a token unless `variables` say otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="rn-", dir="/tmp"))
    if variables is None:
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "AWS_"))}
    kept["PATH"] = os.pathsep.join([str(RAY.parent), kept["PATH"]])  # a submitted job is begun as ``python``
    nodes = RayNodes(folder, {**kept, "OMP_NUM_THREADS": "1", **variables}, free_port(), free_port())
    try:
        nodes.start_head()
        yield nodes
    finally:
        nodes.stop()


def _described(role: str, market: str, cpus: int, gpus: int) -> tuple[object, ...]:
    labels = f"ms2img.io/role={role},ray.io/market-type={market}"
    return ("--num-cpus", cpus, "--num-gpus", gpus, "--labels", labels, "--object-store-memory", 80_000_000)


def _family(process: Any) -> list[Any]:
    with suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return []
