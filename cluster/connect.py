"""Connecting to Ray: the cluster that the environment names, or a private one on this machine."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ms2img.errors import UsageError

CONNECT_SECONDS = 10


@contextmanager
def connected(*, num_cpus: int | None = None) -> Iterator[None]:
    """Hold a Ray connection for the length of the block.

    The cluster at ``RAY_ADDRESS`` is used where that is set; otherwise a private Ray is started on this machine with
    `num_cpus` CPUs (default: all) and stopped at the end. Blocks nest: an inner one uses the outer one's connection.

    Raises `UsageError` when Ray is not installed or the named cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine unasked
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # our progress counts runs; Ray Data's lines count blocks
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # today's default, without its warning
    # Zero-copy views of shared memory are read-only; torch warns about each. What we write to, we copy first.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    try:
        import ray
    except ImportError:
        raise UsageError("this command needs Ray: pip install 'ms2img[cluster]'") from None

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            _require_listener(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, **quiet)
    except OSError as error:
        raise UsageError(f"RAY_ADDRESS={address}: no Ray cluster answers there: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Knock once at ``host:port`` (``OSError`` when nobody listens): Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if host and port.isdecimal():  # "auto" and "local" have no port; Ray finds those by itself
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
