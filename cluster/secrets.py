"""Secrets stay where they are: what must never be in a job's command, metadata, files or messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ms2img.errors import UsageError

#: Variables whose values are secrets. The nodes of a cluster have their own.
SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "RAY_AUTH_TOKEN",
)  # fmt: skip
SHORTEST = 6  # characters; a shorter "secret" would be found everywhere by chance


def has_password(address: str) -> bool:
    """Whether an address has a password in it, as ``postgresql://lab:secret@host``."""
    try:
        return urlsplit(address).password is not None
    except ValueError:  # no address
        return False


def require_no_secret(texts: Iterable[tuple[str, str]]) -> None:
    """Refuse to send what holds a secret: an address with a password, or the value of a secret variable.

    `texts`: where it stands, for the message, and the text. Raises `UsageError`, which does not quote the text.
    """
    secrets = _secrets()
    for where, text in texts:
        if any(has_password(address) for address in re.findall(r"[a-z][a-z0-9+.-]*://\S+", text, re.IGNORECASE)):
            raise UsageError(
                f"{where}: holds an address with a password, which a job would show to everyone; remove it"
            )
        for name, value in secrets.items():
            if value in text:
                raise UsageError(f"{where}: holds the value of {name}, which a job would show to everyone; remove it")


def _secrets() -> dict[str, str]:
    found = {name: os.environ.get(name, "") for name in SECRET_VARIABLES}
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and Path(path).is_file():
        found["RAY_AUTH_TOKEN_PATH"] = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return {name: value for name, value in found.items() if len(value) >= SHORTEST}
