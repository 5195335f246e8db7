"""Which settings a submitted job carries: places, never secrets.

An address that any machine understands is the job's own. One of this machine alone (loopback) is only a fallback: it
counts on a node that has none of its own, which is so where cluster and user share one machine.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from cluster.secrets import has_password
from ms2img.errors import UsageError

ADDRESSES = ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL")
PLAIN = ("AWS_REGION", "AWS_REQUEST_CHECKSUM_CALCULATION")
FALLBACKS_VARIABLE = "MS2IMG_FALLBACKS"  # a JSON mapping of variables
SUBMITTED_VARIABLE = "MS2IMG_SUBMITTED"  # set in a submitted job: its working folder is thrown away
STOP_SECONDS = "60"  # a job asked to stop may take to let go of what it holds; Ray's 3 are too few


def carried(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a job's ``runtime_env``, from those of this process.

    Raises `UsageError` for an address with a password, and a tracking store that is a file of this machine.
    """
    given = os.environ if environment is None else environment
    values = {SUBMITTED_VARIABLE: "1", "RAY_JOB_STOP_WAIT_TIME_S": STOP_SECONDS}
    fallbacks: dict[str, str] = {}
    for name in ADDRESSES:
        address = given.get(name, "")
        if not address:
            continue
        if has_password(address):
            raise UsageError(f"{name} has a password in it; a job carries places only: give the nodes the password")
        if not address.startswith(("http://", "https://", "postgresql", "mysql", "mssql", "databricks")):
            raise UsageError(
                f"{name}={address}: a place of this machine, which no node reaches; name a server, or unset it where "
                "the nodes have their own"
            )
        (fallbacks if _is_loopback(address) else values)[name] = address
    for name in PLAIN:
        if given.get(name):
            (fallbacks if "AWS_ENDPOINT_URL" in fallbacks else values)[name] = given[name]
    if fallbacks:
        values[FALLBACKS_VARIABLE] = json.dumps(fallbacks, sort_keys=True)
    return values


def use_fallbacks() -> None:
    """In a job and its workers: take the fallbacks where this node has no setting of its own."""
    for name, value in json.loads(os.environ.get(FALLBACKS_VARIABLE) or "{}").items():
        os.environ.setdefault(name, value)


def is_submitted() -> bool:
    """Whether this process is a submitted job."""
    return bool(os.environ.get(SUBMITTED_VARIABLE))


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
