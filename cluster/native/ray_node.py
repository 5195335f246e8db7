"""Ray nodes as processes: a head that keeps its memory in Redis, and workers; every port is a chosen one."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.native.credentials import Credentials
from cluster.native.ports import BLOCK
from cluster.native.process import Service
from cluster.native.programs import require_module

LOOPBACK = "127.0.0.1"
ROLE = "ms2img.io/role"
OBJECT_STORE_BYTES = 100_000_000  # a node (ours): the tables of trial jobs are small
HOOK = "cluster.native.start_hook.adjust"

#: Of every node, by their place in the node's block; then those that only a head has; the rest is for its workers.
NODE_PORTS = ("node_manager", "object_manager", "agent_http", "agent_grpc", "runtime_env_agent", "metrics")
HEAD_PORTS = ("gcs", "dashboard", "dashboard_metrics", "autoscaler_metrics")


@dataclass(frozen=True)
class Worker:
    """What a worker node says that it has. GPUs are logical: Ray counts them, nobody looks for a device.

    `host`: the node's address, None for the cluster's; `wrapper`: a command that runs the node's, such as
    ``("ip", "netns", "exec", "far")``; it must become the node's process by ``exec``.
    """

    cpus: int = 1
    gpus: int = 0
    host: str | None = None
    wrapper: tuple[str, ...] = ()


def node_ports(first: int, *, head: bool) -> dict[str, int]:
    """The named ports of a node whose block begins at `first`."""
    named = {name: first + place for place, name in enumerate((*NODE_PORTS, *HEAD_PORTS)) if head or name in NODE_PORTS}
    return {**named, "first_worker": first + len(NODE_PORTS) + len(HEAD_PORTS), "last_worker": first + BLOCK - 1}


def token_environment(host: str, token_path: Path) -> dict[str, str]:
    """What every process of the cluster and every driver needs."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path), "RAY_USAGE_STATS_ENABLED": "0"}
    if host == LOOPBACK:
        # Else Ray takes a loopback address for this machine's outer one, where nobody listens.
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return environment


def head_service(
    home: Path,
    host: str,
    ports: Mapping[str, int],
    credentials: Credentials,
    *,
    redis_port: int,
    environment: Mapping[str, str],
) -> Service:
    """The head. It has no CPUs: what it runs is drivers, never tasks."""
    extra = [
        "--head", "--port", str(ports["gcs"]), "--dashboard-host", host, "--dashboard-port", str(ports["dashboard"]),
        # Ray has no other way for it, and hands it on to its own processes in the same way.
        "--redis-password", credentials.redis_password,
    ]  # fmt: skip
    variables = {
        **environment,
        "RAY_REDIS_ADDRESS": f"{host}:{redis_port}",
        "RAY_external_storage_namespace": home.name,
        "DASHBOARD_METRIC_PORT": str(ports["dashboard_metrics"]),
        "AUTOSCALER_METRIC_PORT": str(ports["autoscaler_metrics"]),
    }
    address, token = f"http://{host}:{ports['dashboard']}", credentials.ray_token

    def answers() -> bool:
        return any(node["is_head_node"] and _is_ours(node, host, ports) for node in alive_nodes(address, token))

    # A head that comes back: Ray would take the workers, which wait for it on this same machine, for the old one.
    (home / "head" / "ray_current_cluster").unlink(missing_ok=True)
    node = Worker(cpus=0)
    return Service("head", _command(node, home / "head", host, ports, "head", extra), answers, variables)


def worker_service(
    name: str,
    worker: Worker,
    home: Path,
    host: str,
    ports: Mapping[str, int],
    *,
    gcs: str,
    dashboard: str,
    token: str,
    environment: Mapping[str, str],
) -> Service:
    """A worker node of the head at `gcs` (``host:port``)."""
    own = worker.host or host
    command = _command(worker, home / name, own, ports, "gpu" if worker.gpus else "cpu", ["--address", gcs])

    def answers() -> bool:
        return any(_is_ours(node, own, ports) for node in alive_nodes(dashboard, token))

    return Service(name, [*worker.wrapper, *command], answers, environment)


def alive_nodes(dashboard: str, token: str) -> list[dict[str, Any]]:
    """The nodes that the head counts as alive, empty when it does not answer: name, labels, resources."""
    request = urllib.request.Request(  # noqa: S310 - http, our own
        f"{dashboard}/api/v0/nodes?limit=1000", headers={"Authorization": f"Bearer {token}"}
    )
    with suppress(OSError, ValueError, KeyError), urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        nodes: list[dict[str, Any]] = json.load(answer)["data"]["result"]["result"]
        return [node for node in nodes if node["state"] == "ALIVE"]
    return []


def _is_ours(node: Mapping[str, Any], host: str, ports: Mapping[str, int]) -> bool:
    return bool(node["node_name"] == _node_name(host, ports))


def _node_name(host: str, ports: Mapping[str, int]) -> str:
    return f"{host}:{ports['node_manager']}"


def _command(
    worker: Worker, temp: Path, host: str, ports: Mapping[str, int], role: str, extra: Sequence[str]
) -> list[str]:
    require_module("ray", "pip install 'ms2img[cluster]'")
    given = {
        "node-ip-address": host,
        "node-name": _node_name(host, ports),
        "node-manager-port": ports["node_manager"],
        "object-manager-port": ports["object_manager"],
        "dashboard-agent-listen-port": ports["agent_http"],
        "dashboard-agent-grpc-port": ports["agent_grpc"],
        "runtime-env-agent-port": ports["runtime_env_agent"],
        "metrics-export-port": ports["metrics"],
        "min-worker-port": ports["first_worker"],
        "max-worker-port": ports["last_worker"],
        "num-cpus": worker.cpus,
        "num-gpus": worker.gpus,
        "labels": f"{ROLE}={role}",
        "temp-dir": temp,
        "object-store-memory": OBJECT_STORE_BYTES,
    }
    options = [f"--{name}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options, *extra]
