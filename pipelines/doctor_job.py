"""The doctor of a cluster that is reached through its job server: it goes there as a job, and its answer is read."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cluster.checks.finding import Finding, State, green, red
from ms2img.errors import Ms2imgError

if TYPE_CHECKING:
    from cluster.job_server import JobServer
    from pipelines.doctor import DoctorConfig

LOOK_SECONDS = 1.0
CHECKS_IN_ALL = 10  # time limits that the job as a whole may take (ours)


def findings_of_job(config: DoctorConfig, address: str) -> Iterator[Finding]:
    """The checks of the job server from here, then those of a doctor within the cluster."""
    from cluster.checks.access import server_access
    from cluster.checks.machines import different
    from cluster.checks.probes import versions

    address = address if "://" in address else f"http://{address}"
    access = server_access(address, seconds=config.time_limit)
    yield from access
    if access[-1].check != "auth" or "refuses our token" in access[-1].text:
        return
    try:
        values = _answer_of(config, address)
    except (Ms2imgError, TimeoutError) as error:
        yield red("nodes", f"a job on the cluster gave no answer: {error}", "ms2img jobs list, ms2img jobs logs ID")
        return
    unlike = different(values.get("versions", {}), versions())
    if unlike:
        yield red("here", f"the cluster has {', '.join(unlike)}", "install here what constraints.txt pins")
    else:
        yield green("here", "the cluster's versions are those of this machine")
    for each in values["checks"]:
        if each["check"] not in ("address", "auth"):  # of the job's own door
            yield Finding(each["check"], State(each["state"]), each["text"], each["remedy"])
        elif each["state"] == State.RED:
            yield Finding("inside", State.RED, each["text"], each["remedy"])


def _answer_of(config: DoctorConfig, address: str) -> dict[str, Any]:
    """What ``ms2img doctor --json`` said as a job. Raises `TimeoutError`, `Ms2imgError`."""
    from cluster.carried import carried
    from cluster.following import ended
    from cluster.job_server import JobServer, Request
    from cluster.staging import staged
    from pipelines.submission.submit import ENTRY, HOOK

    words = ["doctor", "--json", "--quiet", "--time-limit", f"{config.time_limit:g}"]
    words += ["--out", config.out] if config.out else []
    server, job_id = JobServer.connect(address), f"doctor-{secrets.token_hex(4)}"
    with staged({}) as folder:
        server.submit(
            f"python -c {shlex.quote(ENTRY)} {shlex.join(words)}",
            job_id,
            folder=folder,
            variables=carried(),
            hook=HOOK,
            command=shlex.join(["ms2img", *words]),
            request=Request(),
        )
    until = time.monotonic() + CHECKS_IN_ALL * config.time_limit
    while ended(server.job(job_id)) is None:
        if time.monotonic() > until:
            _stop(server, job_id)
            raise TimeoutError(f"{job_id} has not ended in {CHECKS_IN_ALL * config.time_limit:g} s")
        time.sleep(LOOK_SECONDS)
    log = server.log(job_id)
    for line in reversed(log.splitlines()):
        if line.startswith("{"):
            with suppress(ValueError):
                found: dict[str, Any] = json.loads(line)
                return found
    raise TimeoutError(f"{job_id} ended without one: {(log.strip().splitlines() or ['its log is empty'])[-1]}")


def _stop(server: JobServer, job_id: str) -> None:
    with suppress(Ms2imgError):
        server.stop(job_id)
