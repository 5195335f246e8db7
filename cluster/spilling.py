"""Where Ray puts objects that its store has no room for: on a disk, not in a folder that is memory itself."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

IN_MEMORY = ("tmpfs", "ramfs")
ON_DISK = "/var/tmp"  # noqa: S108 (a folder of our own is made in it): never in memory, by the hierarchy standard


def spilling() -> dict[str, str]:
    """Options of ``ray.init`` for a private Ray: nothing, unless Ray's temporary folder lies in memory.

    Objects spilled there would take the very memory that they were to free.
    """
    if file_system(os.environ.get("RAY_TMPDIR") or "/tmp") not in IN_MEMORY:  # noqa: S108 (Ray's own place)
        return {}
    if file_system(ON_DISK) in (*IN_MEMORY, ""):
        return {}
    return {"object_spilling_directory": tempfile.mkdtemp(prefix="ms2img-spill-", dir=ON_DISK)}


def file_system(path: str, mounts: str | None = None) -> str:
    """The kind of file system at a path (``ext4``, ``tmpfs``); empty where the system does not say.

    `mounts`: the text of ``/proc/mounts``, for a test.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8")
        except OSError:
            return ""
    place, found, length = Path(path).resolve(), "", -1
    for line in mounts.splitlines():
        _, mounted, kind, *_ = line.split(" ")
        folder = Path(mounted.replace("\\040", " "))
        if place.is_relative_to(folder) and len(folder.parts) >= length:
            found, length = kind, len(folder.parts)
    return found
