"""PostgreSQL: MLflow's database."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster.native.credentials import write_private
from cluster.native.process import Service
from cluster.native.programs import program
from ms2img.errors import JobError, UsageError

USER = "mlflow"
DATABASE = "postgres"  # the one that a new server has
SYSTEM_USER = "postgres"  # who runs the server where we are root, which it refuses
PACKAGE = "apt-get install postgresql"


def postgres_service(home: Path, host: str, port: int, password: str) -> Service:
    """The server, its data directory made at the first start; TCP only, passwords by SCRAM.

    Raises `UsageError` when it cannot be run here, `JobError` when the data directory cannot be made.
    """
    data = home / "postgres"
    as_root = os.geteuid() == 0
    user = SYSTEM_USER if as_root else None
    if not data.exists():
        data.mkdir(mode=0o700)
        if as_root:
            try:
                shutil.chown(data, SYSTEM_USER, SYSTEM_USER)
            except LookupError:
                raise UsageError(
                    f"PostgreSQL refuses to run as root, and there is no user {SYSTEM_USER}: {PACKAGE}"
                ) from None
        _make_database(data, password, user)
    command = [
        program("postgres", PACKAGE), "-D", str(data), "-p", str(port), "-h", host, "-k", "",
        "-c", "listen_addresses=" + host, "-c", "fsync=off",
    ]  # fmt: skip
    ready = [program("pg_isready", PACKAGE), "-q", "-h", host, "-p", str(port), "-U", USER, "-d", DATABASE]

    def answers() -> bool:
        return subprocess.run(ready, check=False).returncode == 0  # noqa: S603 - our own command

    return Service("postgres", command, answers, user=user)


def postgres_uri(host: str, port: int) -> str:
    """The database for SQLAlchemy, without the password: that is read from `write_password_file`'s file."""
    return f"postgresql+psycopg://{USER}@{host}:{port}/{DATABASE}"


def write_password_file(path: Path, host: str, port: int, password: str) -> Path:
    """A file for ``PGPASSFILE``."""
    write_private(path, f"{host}:{port}:*:{USER}:{password}\n")
    return path


def _make_database(data: Path, password: str, user: str | None) -> None:
    as_user: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    given = data.with_name("initial-password")
    write_private(given, f"{password}\n")
    if user is not None:
        shutil.chown(given, user, user)
    command = [
        program("initdb", PACKAGE), "-D", str(data), "-U", USER, "-E", "UTF8", "--no-sync",
        "--auth=scram-sha-256", f"--pwfile={given}",
    ]  # fmt: skip
    made = subprocess.run(  # noqa: S603 - our own command
        command, text=True, capture_output=True, cwd="/", check=False, **as_user
    )
    given.unlink()
    if made.returncode:
        shutil.rmtree(data)
        said = next(iter(made.stderr.strip().splitlines()[-1:]), "no message")
        raise JobError(f"PostgreSQL's data directory cannot be made in {data}: {said}")
    with (data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host all all samehost scram-sha-256\n")  # where the cluster's address is not the loopback one
