"""Jobs on a native cluster: the command line in processes of their own, led there by the environment alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conversions import data_set
from s3_servers import S3Server

from cluster.native import Stack
from cluster.native.s3 import LAB_BUCKET


def store(stack: Stack) -> S3Server:
    """The cluster's S3 server, asked directly, whatever proxy its clients are led through."""
    return S3Server(f"http://{stack.address('s3')}", stack.environment())


def job_environment(stack: Stack, **more: str) -> dict[str, str]:
    """A driver's variables; no profile of the person who runs the tests."""
    return {**stack.environment(), "MS2IMG_PROFILE": "", **more}


def committed(stack: Stack, prefix: str) -> Mapping[str, bytes]:
    """The bytes of what must not depend on where and how runs were converted, in the laboratory's bucket."""
    s3 = store(stack)
    names = [key.removeprefix(f"{prefix}/") for key in s3.keys(f"{LAB_BUCKET}/{prefix}")]
    return {name: s3.get(f"{LAB_BUCKET}/{prefix}/{name}") for name in names if name.startswith(PLACELESS)}


def committed_locally(out: Path) -> Mapping[str, Any]:
    """The same of a local data set."""
    return {name: content for name, content in data_set(out).items() if name.startswith(PLACELESS)}


PLACELESS = ("images/", "manifest")  # the other files name paths


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
