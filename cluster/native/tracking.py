"""The MLflow server, behind passwords: runs, registry, users in PostgreSQL, artefacts in S3 through the server."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cluster.native.credentials import Credentials
from cluster.native.postgres import postgres_uri, write_password_file
from cluster.native.process import Service
from cluster.native.programs import require_module
from cluster.native.s3 import ARTIFACTS_BUCKET

USER = "admin"
#: As in docker/mlflow-auth.ini: whoever has a password may read and write every experiment and model.
AUTHENTICATION = """[mlflow]
default_permission = EDIT
database_uri = {database}
admin_username = {user}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def tracking_service(
    home: Path, host: str, port: int, own: Credentials, *, postgres_port: int, store: Mapping[str, str]
) -> Service:
    """The server. `store`: the variables that lead to S3."""
    for module in ("mlflow", "flask_wtf", "psycopg", "boto3"):
        require_module(module, "pip install 'ms2img[server]'")
    database = postgres_uri(host, postgres_port)
    settings = home / "mlflow-auth.ini"
    settings.write_text(AUTHENTICATION.format(database=database, user=USER), encoding="utf-8")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1",
        "--app-name", "basic-auth",
        "--backend-store-uri", database,
        "--artifacts-destination", f"s3://{ARTIFACTS_BUCKET}",
        "--allowed-hosts", f"{host}:{port}",  # beyond loopback and private networks MLflow knows none
    ]  # fmt: skip
    environment = {
        **store,
        "PGPASSFILE": str(write_password_file(home / "pgpass", host, postgres_port, own.postgres_password)),
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": own.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": own.mlflow_session_key,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes and ports that nobody here asks for
        "OMP_NUM_THREADS": "1",
    }
    return Service("mlflow", command, lambda: _is_healthy(f"http://{host}:{port}/health"), environment)


def _is_healthy(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - http, our own
        return bool(answer.status == 200)
    return False
