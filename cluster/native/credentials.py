"""The stack's secrets: made once, each a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path

BYTES = 24  # of randomness, each (ours)


@dataclass(frozen=True)
class Credentials:
    """Every secret of the stack. `folder` holds them, each in the file of its name."""

    folder: Path
    ray_token: str
    redis_password: str
    postgres_password: str
    s3_key: str
    s3_secret: str
    mlflow_password: str
    mlflow_session_key: str

    @classmethod
    def of(cls, folder: Path) -> Credentials:
        """Those in `folder`; what is missing is made: mode 0600, in a folder of mode 0700."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = [field.name for field in fields(cls) if field.name != "folder"]
        return cls(folder=folder.absolute(), **{name: _secret(folder / name) for name in names})

    @property
    def token_path(self) -> Path:
        """The file with Ray's token, for ``RAY_AUTH_TOKEN_PATH``."""
        return self.folder / "ray_token"


def write_private(path: Path, text: str) -> None:
    """Write a new file that nobody but its owner could read at any moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _secret(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_hex(BYTES))
    return path.read_text(encoding="ascii")
