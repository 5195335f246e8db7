"""What a job on several machines writes must be one place for all of them, not a folder on each."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cluster.carried import is_submitted
from ms2img.errors import JobError, UsageError
from ms2img.io.location import is_remote

LOOK_SECONDS = 5.0  # a network file system may show a new file late
ANSWER_SECONDS = 120.0  # for a node to start a worker and look
SHOWN_NODES = 3
_proven: set[tuple[str, frozenset[str]]] = set()  # folders that these nodes see, for a job connects several times


def require_shared(folders: Iterable[str], tracking_uri: str | None = None) -> None:
    """Refuse, on a connected cluster of more than one node, what only one node would see.

    A local folder is probed: a file that this process writes must be seen by a task on every node, so that NFS or
    Lustre passes. `tracking_uri`: where runs are tracked, empty where nothing is set, None for a job that tracks
    nothing; SQLite, or nothing, is refused, in a submitted job on one node too, for its working folder is thrown away.

    Raises `UsageError` saying what to set, `JobError` when a node does not answer.
    """
    import ray

    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if tracking_uri is not None and _is_local(tracking_uri) and (len(nodes) > 1 or is_submitted()):
        found = f"MLFLOW_TRACKING_URI={tracking_uri}: is of one machine" if tracking_uri else "no tracking server"
        raise UsageError(f"{found}; on a cluster set MLFLOW_TRACKING_URI to a server, such as http://mlflow:5000")
    if len(nodes) > 1:
        for folder in folders:
            if not is_remote(folder):
                path = os.path.abspath(folder)  # noqa: PTH100 (links are the nodes' own affair)
                if (path, frozenset(nodes)) not in _proven:
                    _probe(path, nodes)
                    _proven.add((path, frozenset(nodes)))


def sees(path: str) -> bool:
    """Whether a file is there; waited for, as network file systems show a new one late."""
    deadline = time.monotonic() + LOOK_SECONDS
    while not Path(path).exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _is_local(tracking_uri: str) -> bool:
    """Whether a tracking store is a file, or the default one."""
    return not tracking_uri or tracking_uri.startswith(("sqlite", "file:")) or "://" not in tracking_uri


def _probe(folder: str, nodes: dict[str, str]) -> None:
    """Write a file where the folder is, or will be, and ask every node for it."""
    place = next(path for path in (Path(folder), *Path(folder).parents) if path.is_dir())
    marker = place / f".ms2img-shared-{uuid.uuid4().hex}"
    try:
        marker.touch()
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        blind = _blind(str(marker), nodes)
    finally:
        with suppress(OSError):
            marker.unlink()
    if blind:
        shown = ", ".join(blind[:SHOWN_NODES]) + (", ..." if len(blind) > SHOWN_NODES else "")
        raise UsageError(
            f"{folder}: {len(blind)} of {len(nodes)} nodes do not see it ({shown}); name an s3:// location, or a "
            "folder that every node shares"
        )


def _blind(marker: str, nodes: dict[str, str]) -> list[str]:
    """The addresses of the nodes that do not see a file; a node that leaves meanwhile is no matter."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(sees)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(marker): address
        for node, address in nodes.items()
    }
    done, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    if waiting:
        raise JobError(
            f"node {asked[waiting[0]]} did not answer within {ANSWER_SECONDS:.0f} s; run the same command again"
        )
    gone = (ray.exceptions.NodeDiedError, ray.exceptions.WorkerCrashedError, ray.exceptions.TaskUnschedulableError)
    blind = []
    for answer in done:
        try:
            with suppress(*gone):
                if not ray.get(answer):
                    blind.append(asked[answer])
        except ray.exceptions.RayError as error:  # such as a node without this package
            reason = str(error).strip().splitlines()[-1]
            raise JobError(f"node {asked[answer]} cannot look whether it sees the output: {reason}") from None
    return sorted(blind)
