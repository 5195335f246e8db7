"""Where bytes lie: a local path or ``s3://bucket/key``, told apart here and nowhere else.

Two sides: what a job reads (`status`, `statuses`, `open_bytes`, `files_in`), whose failures are one run's `RunError`,
and the `Folder` a job writes, whose failures end the job.

An S3 store is the one that the usual AWS variables name. What it refuses for a moment (a lost connection, 500, 503) is
tried again with growing pauses; how long is `ms2img.io.patience`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol

import pyarrow as pa

from ms2img.errors import RunError, UsageError
from ms2img.io import local
from ms2img.io.location import FileStatus, is_remote, join

__all__ = [
    "FileStatus", "Folder", "files_in", "folder", "is_folder", "is_remote", "join", "open_bytes", "require_access",
    "status", "statuses",
]  # fmt: skip


def status(location: str) -> FileStatus:
    """Size and version of a regular, non-empty file. Raises `RunError`: NOT_FOUND, UNREADABLE, EMPTY or STORAGE."""
    found: FileStatus = _s3("status").status(location) if is_remote(location) else local.status(location)
    return found


def statuses(locations: Iterable[str]) -> dict[str, FileStatus | RunError]:
    """`status` of many files: their errors are values. On S3 a listing a folder, not a request a file."""
    wanted = list(dict.fromkeys(locations))
    remote = [location for location in wanted if is_remote(location)]
    found: dict[str, FileStatus | RunError] = _s3("status").statuses(remote) if remote else {}
    for location in wanted:
        if not is_remote(location):
            try:
                found[location] = local.status(location)
            except RunError as error:
                found[location] = error
    return {location: found[location] for location in wanted}


def open_bytes(location: str) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading its bytes as they are stored: buffered, with `peek`, seekable; from S3 by ranges.

    Raises `RunError` as `status`; an I/O error in the block is UNREADABLE (STORAGE on S3).
    """
    opened: AbstractContextManager[BinaryIO] = (
        _s3("read").open_bytes(location) if is_remote(location) else local.open_bytes(location)
    )
    return opened


def require_access(locations: Iterable[str]) -> None:
    """Ask every S3 bucket among these locations once, before any work; local ones are not looked at.

    Raises `UsageError`, one line: a wrong key, no access, no such bucket, or a store that does not answer.
    """
    remote = [location for location in locations if is_remote(location)]
    if remote:
        _s3("status").require_access(remote)


def is_folder(location: str) -> bool:
    """Whether a location is a folder: on S3 the start of some key. Raises `UsageError` where S3 refuses."""
    if not is_remote(location):
        return Path(location).is_dir()
    found: bool = _s3("status").is_folder(location)
    return found


def files_in(location: str) -> list[str]:
    """The files directly in a folder, sorted, without hidden ones. Raises `UsageError` where it cannot be listed."""
    found: list[str] = _s3("status").files_in(location) if is_remote(location) else local.files_in(location)
    return found


class Folder(Protocol):
    """A folder that a job writes; names are relative, parted by ``/``.

    Every method raises `JobError` (one line) when the disk is full or the store is gone, `UsageError` when it refuses
    access.
    """

    location: str

    @property
    def is_conditional(self) -> bool:
        """Whether `create` and `replace_if` hold against another writer in the same moment (some S3 stores: not)."""

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none."""

    def open(self, name: str) -> pa.NativeFile:
        """A file for random access, as Parquet readers want it. `FileNotFoundError` where there is none."""

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Create or replace a file at once: a reader sees the old content or the new, never a half."""

    def names(self, under: str = "") -> dict[str, FileStatus]:
        """Every complete file whose name starts with `under`, sorted by name; temporary ones are left out."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no error."""

    def create(self, name: str, content: bytes) -> str | None:
        """Write a file only where there is none: its version, or None when somebody else's is there.

        Content that no other writer has: on S3 it tells a write whose answer was lost from somebody else's.
        """

    def replace_if(self, name: str, content: bytes, version: str) -> str | None:
        """Replace a file only while its version is `version` (of `create`, `replace_if` or `names`): the new version.

        None when somebody else replaced or removed it first. Content as for `create`.
        """


def folder(location: str) -> Folder:
    """The folder at a location. Nothing is asked, and nothing created, before it is used."""
    opened: Folder = _s3("folder").S3Folder(location) if is_remote(location) else local.LocalFolder(location)
    return opened


def _s3(module: str) -> ModuleType:
    """A module of the S3 half; it is imported where an S3 location is named, for boto3 is an extra."""
    from importlib import import_module

    try:
        return import_module(f"ms2img.io.s3.{module}")
    except ModuleNotFoundError as error:
        raise UsageError(f"s3:// locations need {error.name}: pip install 'ms2img[s3]'") from None
