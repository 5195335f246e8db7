"""Whether the cluster answers, takes our token, and refuses everybody who has none.

Each question to Ray's own port is asked by a process of its own: Ray reads how it authenticates once a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from cluster.checks.finding import Finding, green, red

ASKING_SECONDS = 5
REFUSED = 5  # exit status of `_ASK` (ours)
_ASK = f"""
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"ms2img-doctor", b"ms2img", timeout={ASKING_SECONDS})
except AuthenticationError:
    sys.exit({REFUSED})
"""
SET_TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token file"  # noqa: S105 (advice, no token)
ARM = "anybody who reaches it runs programs there: start every node with RAY_AUTH_MODE=token and a token file"


def ray_access(address: str, *, seconds: float) -> list[Finding]:
    """Checks "address" and "auth" of Ray's own port, ``host:port``."""
    ours = _ask_ray(address, dict(os.environ), seconds)
    if ours is None:
        return [
            red("address", f"{address}: no Ray answers in {seconds:g} s", "is the head up, and its port open to here?")
        ]
    found = [green("address", f"{address} answers")]
    if ours == REFUSED:
        return [*found, red("auth", f"{address} refuses our token", SET_TOKEN)]
    if ours:
        return [
            red("address", f"{address}: what answers is no Ray of our version", "does the address name Ray's port?")
        ]
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    stranger = _ask_ray(address, {**without, "RAY_AUTH_MODE": "disabled"}, seconds)
    if stranger == 0:
        return [*found, red("auth", f"{address} answers without a token", ARM)]
    return [*found, green("auth", "our token is taken, and no token is refused")]


def server_access(address: str, *, seconds: float) -> list[Finding]:
    """Checks "address" and "auth" of a job server, ``http://host:port``."""
    url = f"{address.rstrip('/')}/api/jobs/"
    try:
        ours = _status(url, _token(), seconds)
        stranger = _status(url, None, seconds)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        return [
            red("address", f"{address}: no job server answers: {reason}", "is the head up, and its port open to here?")
        ]
    found = [green("address", f"{address} answers")]
    if stranger == 200:
        return [*found, red("auth", f"{address} answers without a token", ARM)]
    if ours != 200:
        return [*found, red("auth", f"{address} refuses our token (HTTP {ours})", SET_TOKEN)]
    return [*found, green("auth", "our token is taken, and no token is refused")]


def _ask_ray(address: str, environment: dict[str, str], seconds: float) -> int | None:
    """The exit status of one question to Ray; None where nobody answers in time."""
    try:
        asked = subprocess.run(  # noqa: S603 (this Python, our own program)
            [sys.executable, "-c", _ASK, address],
            env=environment,
            timeout=seconds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return None
    unreachable = asked.returncode and any(word in asked.stderr for word in ("RpcError", "TimedOut", "Timed out"))
    return None if unreachable else asked.returncode


def _status(url: str, token: str | None, seconds: float) -> int:
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    try:
        with urlopen(request, timeout=seconds) as answer:  # noqa: S310 (http or https, see `pipelines.doctor`)
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _token() -> str | None:
    """Our token, from where Ray itself would take it."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")  # noqa: PTH111
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read().strip() or None
    except OSError:
        return None
