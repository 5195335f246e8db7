"""What is looked at on a node. Each of these runs in a task there, and returns plain values."""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import time
from base64 import b64encode
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PACKAGES = ("ray", "torch", "numpy", "pyarrow", "mlflow")  # whose versions have to agree, with Python and ms2img


def clock() -> float:
    """Seconds since 1970 by the node's clock."""
    return time.time()


def versions() -> dict[str, str]:
    """Package to version; "none" where it is not installed."""
    import ms2img

    found = {"python": platform.python_version(), "ms2img": ms2img.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package).partition("+")[0]  # builds for CPU and CUDA are one version
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def devices() -> int:
    """How many GPUs torch sees."""
    import torch

    return int(torch.cuda.device_count())


def room() -> dict[str, Any]:
    """Bytes of shared memory, and of the disk that objects are spilled to; whether that disk is memory itself."""
    import ray

    from cluster.spilling import IN_MEMORY, file_system

    session = ray._private.worker._global_node.get_session_dir_path()
    disk = shutil.disk_usage(session)
    shared = shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else 0  # noqa: S108
    return {
        "shared": shared,
        "spill": session,
        "free": disk.free,
        "share": disk.used / disk.total,
        "memory": file_system(session) in IN_MEMORY,
    }


def storage(location: str, marker: str, name: str) -> None:
    """Read the driver's `marker` at a folder, then write `name` there and read it back.

    Raises an error whose text says what went wrong.
    """
    from ms2img.io.storage import folder

    place = folder(location)
    if place.read(marker) is None:
        raise FileNotFoundError(f"{location} on this node is not the folder that the driver sees")
    place.write(name, name.encode())
    if place.read(name) != name.encode():
        raise OSError(f"{location}: what was written does not come back")


def tracking(address: str, seconds: float) -> None:
    """Ask an MLflow server for one experiment, as this node's user. Raises an error whose text says what went wrong."""
    request = Request(f"{address.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1")  # noqa: S310
    if authorization := _authorization():
        request.add_header("Authorization", authorization)
    trust = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
    try:
        with urlopen(request, timeout=seconds, context=trust):  # noqa: S310 (http or https, see `places.tracking`)
            pass
    except HTTPError as error:
        if error.code in (401, 403):
            raise PermissionError(
                f"it refuses what this node has for MLFLOW_TRACKING_USERNAME and _PASSWORD (HTTP {error.code})"
            ) from None
        raise OSError(f"HTTP {error.code}") from None


def _authorization() -> str:
    """What MLflow's own client would send: a token, or user and password of the environment or of its file."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {token}"
    stored = ConfigParser(interpolation=None)
    stored.read(Path.home() / ".mlflow" / "credentials", encoding="utf-8")
    user, password = (
        os.environ.get(name.upper()) or stored.get("mlflow", name, fallback="") or ""
        for name in ("mlflow_tracking_username", "mlflow_tracking_password")
    )
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
