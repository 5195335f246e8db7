"""``ms2img doctor``: is the target fit for jobs? One line a check, green or red, and for red what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator

from cluster.checks.finding import Finding, State, green, grey, red
from ms2img.config import Config
from ms2img.errors import JobError, UsageError
from ms2img.places import Writes
from pipelines.command import Output, Result


class DoctorConfig(Config):
    """Options of ``ms2img doctor``."""

    address: str | None = Field(
        None,
        description="what to check: a job server, http://HOST:8265 [default: RAY_API_SERVER_ADDRESS, or dashboard in "
        "the profile], or on a node HOST:PORT of Ray [default: RAY_ADDRESS]; where none is named, this machine",
    )
    out: Annotated[str | None, Writes()] = Field(
        None, description="a place that jobs write to, s3://bucket/folder or a shared folder: every node is tried"
    )
    time_limit: float = Field(60.0, gt=0, description="seconds a node may take for one answer")

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        scheme, separator, _ = (value or "").partition("://")
        if separator and scheme not in ("http", "https"):
            raise ValueError("expected http://HOST:8265 of a job server, or HOST:PORT of Ray on a node of it")
        return value


def doctor(config: DoctorConfig, output: Output) -> Result:
    """Check a cluster, or this machine, for what jobs need: a green or red line a check, and what to do."""
    found: list[Finding] = []
    facts: dict[str, Any] = {}
    for finding in _findings(config, facts):
        found.append(finding)
        output.say(finding.line())
    faults = sum(each.state is State.RED for each in found)
    output.say("all is well" if not faults else f"{faults} of {len(found)} checks are red")
    values = {"checks": [each.values() for each in found], "ok": not faults, **facts}
    return Result(values, status=1 if faults else 0)


def _findings(config: DoctorConfig, facts: dict[str, Any]) -> Iterator[Finding]:
    """The checks of whichever target is named; `facts` takes what a doctor inside tells the one outside."""
    inside = os.environ.get("RAY_ADDRESS")
    if config.address and "://" not in config.address:
        yield from _of_node(config, config.address, facts)
    elif config.address or (os.environ.get("RAY_API_SERVER_ADDRESS") and not inside):
        from pipelines.doctor_job import findings_of_job

        yield from findings_of_job(config, config.address or os.environ["RAY_API_SERVER_ADDRESS"])
    elif inside:
        yield from _of_node(config, inside, facts)
    else:
        yield from _of_this_machine(config, facts)


def _of_node(config: DoctorConfig, address: str, facts: dict[str, Any]) -> Iterator[Finding]:
    """Of the cluster that this machine is a node of."""
    from cluster.checks.access import ray_access

    access = ray_access(address, seconds=config.time_limit)
    yield from access
    if access[-1].check == "auth" and not (access[-1].state is State.RED and "refuses our token" in access[-1].text):
        os.environ["RAY_ADDRESS"] = address
        yield from _connected(config, facts)


def _of_this_machine(config: DoctorConfig, facts: dict[str, Any]) -> Iterator[Finding]:
    yield grey("address", "not asked: no cluster is named, so jobs run on a private Ray on this machine")
    yield from _connected(config, facts)


def _connected(config: DoctorConfig, facts: dict[str, Any]) -> Iterator[Finding]:
    from cluster.checks.inside import Asked, checks_inside
    from cluster.checks.probes import versions
    from cluster.connect import connected

    facts["versions"] = versions()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with connected():
            yield from checks_inside(Asked(config.out, uri, config.time_limit))
    except (JobError, UsageError) as error:
        yield red("nodes", str(error), "is Ray installed and running here? pip install 'ms2img[cluster]'")
    yield _store(config, uri)


def _store(config: DoctorConfig, uri: str | None) -> Finding:
    """Check "store": the driver opens the tracking store, as a job would."""
    from cluster.checks.nodes import within
    from ms2img.tracking.store import NoStoreError, open_store

    try:
        store = within(config.time_limit, lambda: open_store(create=False))
    except NoStoreError:
        return grey("store", "not asked: there is none yet; the first job makes one in ./.ms2img")
    except (UsageError, TimeoutError) as error:
        return red("store", str(error), "set MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD for the driver")
    return green("store", f"{store.shown() if uri else './.ms2img'} opens")
