"""A location: a local path, or ``s3://bucket/key``. What can be said of one without asking a disk or a store."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SCHEME = "s3://"
TEMPORARY = ".tmp"  # what a name ends in that no listing shows


@dataclass(frozen=True)
class FileStatus:
    """What is known of a file without reading it.

    `size` in bytes; `version` differs whenever the content may: the time of change in ns locally, the ETag on S3.
    """

    size: int
    version: str


def is_remote(location: str) -> bool:
    """Whether a location is in an object store."""
    return location.startswith(SCHEME)


def join(location: str, *names: str) -> str:
    """The location of `names` below a folder."""
    return "/".join([location.rstrip("/") or "/", *names]) if is_remote(location) else str(Path(location, *names))


def bucket_and_key(location: str) -> tuple[str, str]:
    """``s3://bucket/some/key`` as ("bucket", "some/key"); the key of a whole bucket is empty."""
    bucket, _, key = location.removeprefix(SCHEME).partition("/")
    return bucket, key


def absolute(location: str) -> str:
    """A local path made absolute, links not followed; an S3 location as it is."""
    return location if is_remote(location) else os.path.abspath(location)  # noqa: PTH100 (Path.absolute keeps "..")


def parent(location: str) -> str:
    """The folder a file lies in, without a slash at its end."""
    if not is_remote(location):
        return str(Path(location).parent)
    bucket, key = bucket_and_key(location)
    return join(f"{SCHEME}{bucket}", *filter(None, [posixpath.dirname(key.rstrip("/"))]))


def file_name(location: str) -> str:
    """The last part of a location; empty for a whole bucket."""
    return posixpath.basename(bucket_and_key(location)[1].rstrip("/")) if is_remote(location) else Path(location).name


def suffix(location: str) -> str:
    """The file name's last ending, in lower case: ``.csv``."""
    return PurePosixPath(file_name(location)).suffix.lower()


def stem(location: str) -> str:
    """What a run is called by its file: ``X`` of ``X.mgf`` and of ``X.mzML.gz``."""
    name = file_name(location)
    if name.lower().endswith(".gz"):
        name = name[: -len(".gz")]
    return PurePosixPath(name).stem
