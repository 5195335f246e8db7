"""One S3 client a process, as the usual AWS variables describe the store: boto3's to ask, pyarrow's to read.

boto3 finds endpoint, region and credentials (variables, profile, role); pyarrow is told them, so that both always talk
to the same store and neither waits for a metadata service that is not there.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from ms2img.errors import UsageError
from ms2img.io.patience import VARIABLE as PATIENCE_VARIABLE
from ms2img.io.patience import Patience

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
_VARIABLES = (  # a client is made anew when one of them changes
    *ENDPOINT_VARIABLES, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION", PATIENCE_VARIABLE,
)  # fmt: skip
DEFAULT_REGION = "us-east-1"  # what stores other than Amazon's expect where none is named
CONNECTIONS = 16  # requests in flight at once, one a thread (ours)
_lock = threading.Lock()


@dataclass(frozen=True)
class Store:
    """The store of this process: `client` is boto3's, safe to use from many threads."""

    client: Any
    credentials: Any
    region: str
    patience: Patience

    def filesystem(self) -> pafs.S3FileSystem:
        """pyarrow's file system with the credentials of this moment: those of a role change by the hour."""
        now = self.credentials.get_frozen_credentials()
        endpoint = str(self.client.meta.endpoint_url)
        with _lock:
            return _filesystem(endpoint, self.region, now.access_key, now.secret_key, now.token, self.patience)

    def name(self) -> str:
        """How a message calls the store: its address and where that comes from, without any secret."""
        parts = urlsplit(self.client.meta.endpoint_url)
        shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")
        variable = next((name for name in ENDPOINT_VARIABLES if os.environ.get(name)), None)
        if variable is None:
            return f"{shown} ({ENDPOINT_VARIABLES[1]} is not set)"
        return f"{shown} ({variable})"


def store() -> Store:
    """The store that the environment names. Raises `UsageError`: no credentials, a wrong setting."""
    with _lock:
        return _store(tuple(os.environ.get(name) for name in _VARIABLES))


@lru_cache(maxsize=4)
def _store(settings: tuple[str | None, ...]) -> Store:
    patience = Patience.from_environment()
    values = dict(zip(_VARIABLES, settings, strict=True))
    config = Config(
        connect_timeout=patience.connect,
        read_timeout=patience.answer,
        retries={"total_max_attempts": 1},  # `Patience.retry` is the one place that tries again
        max_pool_connections=CONNECTIONS,
        # Newer checksums are refused by many stores that are not Amazon's (ours; the variables of boto3 say otherwise).
        request_checksum_calculation=values["AWS_REQUEST_CHECKSUM_CALCULATION"] or "when_required",
        response_checksum_validation=values["AWS_RESPONSE_CHECKSUM_VALIDATION"] or "when_required",
    )
    try:
        session = boto3.Session()
        region = values["AWS_REGION"] or session.region_name or DEFAULT_REGION
        credentials = session.get_credentials()
        client = session.client("s3", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"S3 settings: {_one_line(error)}; see {', '.join(_VARIABLES[:4])}, AWS_REGION") from None
    if credentials is None:
        raise UsageError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    return Store(client, credentials, region, patience)


@lru_cache(maxsize=4)
def _filesystem(
    endpoint: str, region: str, key: str, secret: str, token: str | None, patience: Patience
) -> pafs.S3FileSystem:
    parts = urlsplit(endpoint)
    is_amazon = (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    options: dict[str, Any] = {}
    if parts.scheme == "https" and (bundle := os.environ.get("AWS_CA_BUNDLE")):
        options["tls_ca_file_path"] = bundle
    return pafs.S3FileSystem(
        access_key=key,
        secret_key=secret,
        session_token=token,
        region=region,
        scheme=parts.scheme,
        endpoint_override=None if is_amazon else f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/"),
        connect_timeout=patience.connect,
        request_timeout=patience.answer,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
        **options,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _forget() -> None:
    """In a forked process: its parent's connections, and a lock its parent may have held, are not its own."""
    global _lock
    _lock = threading.Lock()
    _store.cache_clear()
    _filesystem.cache_clear()


os.register_at_fork(after_in_child=_forget)
