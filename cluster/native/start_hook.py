"""Ray's start hook (``RAY_START_HOOK``): what ``ray start`` has no option for."""

from __future__ import annotations

from typing import Any


def adjust(parameters: Any, head: bool) -> None:
    """No port for Ray's client protocol, a door that nobody here uses; and nodes that meet on the loopback address.

    Ray replaces a loopback address by the machine's outer one, so that other machines reach the node: here none must.
    """
    from ray._private import ray_constants, services

    parameters.ray_client_server_port = None
    services.resolve_ip_for_localhost = lambda host: host
    ray_constants.ENABLE_RAY_CLUSTER = True  # which `token_environment` has turned off for the addresses' sake
