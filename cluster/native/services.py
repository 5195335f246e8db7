"""What each service of the stack is started with: its program, its ports, and what it must know of the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.native import ray_node
from cluster.native.credentials import Credentials
from cluster.native.postgres import postgres_service
from cluster.native.process import Service
from cluster.native.ray_node import Worker
from cluster.native.redis import redis_service
from cluster.native.s3 import s3_environment, s3_service
from cluster.native.state import State
from cluster.native.tracking import USER, tracking_service


def service_of(name: str, state: State, own: Credentials, workers: Mapping[str, Worker]) -> Service:
    """The service of that name; `workers`: what the worker nodes are, by their services' names."""
    servers = state.ports["servers"]
    if name == "redis":
        return redis_service(state.home, state.host, servers["redis"], own.redis_password)
    if name == "postgres":
        return postgres_service(state.home, state.host, servers["postgres"], own.postgres_password)
    if name == "s3":
        return s3_service(state.home, state.host, servers["s3"], own.s3_key, own.s3_secret)
    if name == "mlflow":
        return tracking_service(
            state.home,
            state.host,
            servers["mlflow"],
            own,
            postgres_port=servers["postgres"],
            store=_store_environment(state, own),
        )
    environment = {**node_environment(state, own), "RAY_START_HOOK": ray_node.HOOK, "PATH": _path()}
    if name == "head":
        return ray_node.head_service(
            state.home, state.host, state.ports["head"], own, redis_port=servers["redis"], environment=environment
        )
    return ray_node.worker_service(
        name,
        workers.get(name, Worker()),
        state.home,
        state.host,
        state.ports[name],
        gcs=address(state, "head", workers),
        dashboard=dashboard(state),
        token=own.ray_token,
        environment=environment,
    )


def address(state: State, service: str, workers: Mapping[str, Worker]) -> str:
    """``host:port`` of a server, of the head's GCS, or of a worker's node manager."""
    port = state.ports["servers"].get(service)
    if port is None:
        port = state.ports[service]["gcs" if service == "head" else "node_manager"]
    host = workers[service].host if service in workers else None
    return f"{host or state.host}:{port}"


def dashboard(state: State) -> str:
    """The address of Ray's job server."""
    return f"http://{state.host}:{state.ports['head']['dashboard']}"


def node_environment(state: State, own: Credentials) -> dict[str, str]:
    """The variables that every node and client has; some are secrets or their places."""
    return {
        **ray_node.token_environment(state.host, own.token_path),
        **_store_environment(state, own),
        "MLFLOW_TRACKING_URI": f"http://{address(state, 'mlflow', {})}",
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": own.mlflow_password,
    }


def _path() -> str:
    """A submitted job is begun as ``python``, which must be the one that has ms2img's packages."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _store_environment(state: State, own: Credentials) -> dict[str, str]:
    endpoint = state.s3_endpoint or f"http://{address(state, 's3', {})}"
    return s3_environment(endpoint, own.s3_key, own.s3_secret)
