"""The profile: one file that says which cluster, tracking server and store this machine works with.

It holds places only, never a secret: a token is named by the path of its file, keys and passwords stay in the
environment. What the environment says wins over the profile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from cluster.secrets import has_password
from ms2img.config import Config, load_yaml
from ms2img.errors import UsageError

PROFILE_VARIABLE = "MS2IMG_PROFILE"
DEFAULT_PROFILE = "~/.config/ms2img/profile.yaml"


class Profile(Config):
    """The places of a cluster, as a profile file has them."""

    dashboard: str | None = Field(None, description="job server of the Ray cluster, such as http://head:8265")
    token_path: str | None = Field(None, description="file with the cluster's token")
    tracking_uri: str | None = Field(None, description="MLflow server")
    s3_endpoint: str | None = Field(None, description="S3 server; unset: Amazon's")
    s3_region: str | None = Field(None, description="region of the S3 server")
    ca_file: str | None = Field(
        None, description="certificates of the authorities that the servers are trusted by, PEM"
    )

    @field_validator("dashboard", "tracking_uri", "s3_endpoint")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and has_password(value):
            raise ValueError("an address with a password in it; passwords belong in the environment")
        return value


def profile_path() -> Path | None:
    """The file that ``MS2IMG_PROFILE`` names, else the default one where it exists. None: there is no profile."""
    named = os.environ.get(PROFILE_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    default = Path(DEFAULT_PROFILE).expanduser()
    return default if default.is_file() else None


def load_profile() -> Profile:
    """The profile, empty where there is none.

    Raises `UsageError` naming file and key: a file that ``MS2IMG_PROFILE`` names and that is not there, an unknown
    key, an address with a password.
    """
    path = profile_path()
    if path is None:
        return Profile.checked({}, source="no profile")
    given = load_yaml(path)
    for key in ("token_path", "ca_file"):  # written beside the profile, so relative to it
        if isinstance(given.get(key), str):
            given[key] = str(path.absolute().parent / Path(given[key]).expanduser())
    try:
        return Profile.checked(given, source=str(path))
    except UsageError as error:  # the value may be a password: it must not be quoted
        raise UsageError(str(error).partition("; got ")[0]) from None


def applied(profile: Profile, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables that the profile stands for, without those that are set already."""
    given = os.environ if environment is None else environment
    values = {
        "RAY_API_SERVER_ADDRESS": profile.dashboard,
        "MLFLOW_TRACKING_URI": profile.tracking_uri,
        "MLFLOW_TRACKING_SERVER_CERT_PATH": profile.ca_file,
        "AWS_ENDPOINT_URL": profile.s3_endpoint,
        "AWS_REGION": profile.s3_region,
        "AWS_CA_BUNDLE": profile.ca_file,
        "REQUESTS_CA_BUNDLE": profile.ca_file,
    }
    if profile.token_path is not None and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(given):
        values |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": profile.token_path}
    if profile.s3_endpoint is not None:  # checksums that only Amazon's own servers are sure to know
        values["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
    return {name: value for name, value in values.items() if value is not None and name not in given}


def apply_profile() -> None:
    """Let this process, and those it starts, work with the profile's places where the environment names none."""
    os.environ.update(applied(load_profile()))
