"""Checks of what the nodes share: where output is written, and where runs are tracked."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from cluster.checks import probes
from cluster.checks.finding import Finding, first_and_more, green, grey, red
from cluster.checks.nodes import Node, on_each, within
from ms2img.errors import Ms2imgError
from ms2img.io.storage import Folder, folder, is_remote

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def storage(living: Sequence[Node], out: str | None, *, seconds: float) -> Finding:
    """Check "storage": this process and every node write, read and delete an object at one place.

    What was written is gone again afterwards, a local folder that was not there too.
    """
    if not out:
        return grey("storage", "not asked: --out names the place that jobs write to")
    place, stamp = folder(out), uuid.uuid4().hex[:12]
    marker = f".ms2img-doctor-{stamp}"
    names = {node: f"{marker}-{node.id[:12]}" for node in living}
    made = not is_remote(out) and not Path(out).exists()
    try:
        within(seconds, lambda: place.write(marker, stamp.encode()))
        faults = []
        for node, name in names.items():  # one after the other: a node that waits for the store is named
            answer = on_each([node], probes.storage, out, marker, name, seconds=seconds)[node]
            if answer.failed:
                faults.append(f"{node.name}: {answer.failed}")
            elif place.read(name) is None:
                faults.append(f"{node.name}: what it wrote to {out} is not there")
        within(seconds, lambda: place.delete([marker, *names.values()]))
    except (Ms2imgError, OSError, TimeoutError) as error:
        _forget(place, [marker, *names.values()], made, seconds)
        return red("storage", f"{out}: {error}", "correct AWS_ENDPOINT_URL, keys or policy here")
    _forget(place, [], made, seconds)
    if faults:
        remedy = "each node needs AWS_ENDPOINT_URL and keys of its own" if is_remote(out) else "name a shared place"
        return red("storage", first_and_more(faults), remedy)
    return green("storage", f"{out}: every node writes, reads and deletes")


def tracking(living: Sequence[Node], address: str | None, *, seconds: float) -> Finding:
    """Check "tracking": every node reaches the tracking server, an MLflow one as a user that it knows."""
    if not address:
        if len(living) > 1:
            remedy = "set it to a server, such as http://mlflow:5000"
            return red("tracking", "MLFLOW_TRACKING_URI is not set: runs would stay on one node", remedy)
        return grey("tracking", "not asked: runs are kept in ./.ms2img on this machine")
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    shown = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    if scheme not in PORTS:
        if len(living) > 1:
            return red("tracking", f"{address} is of one machine", "set MLFLOW_TRACKING_URI to a server")
        return grey("tracking", f"not asked: {address} is of this machine")
    if scheme in ("http", "https"):
        answers = on_each(living, probes.tracking, address, seconds / 2, seconds=seconds)
    else:
        answers = on_each(living, _knock, parts.hostname, parts.port or PORTS[scheme], seconds / 2, seconds=seconds)
    faults = [f"{node.name}: {shown}: {answer.failed}" for node, answer in answers.items() if answer.failed]
    if faults:
        return red("tracking", first_and_more(faults), "is the server up, and are its port and user open to that node?")
    return green("tracking", f"{shown}: every node reaches it")


def _knock(host: str, port: int, seconds: float) -> None:
    socket.create_connection((host, port), timeout=seconds).close()


def _forget(place: Folder, names: Sequence[str], made: bool, seconds: float) -> None:
    """Remove what the check has left, as far as the place lets us."""
    with suppress(Ms2imgError, OSError, TimeoutError):
        if names:
            within(seconds, lambda: place.delete(names))
        if made:
            Path(place.location).rmdir()
