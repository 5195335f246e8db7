"""Where the files lie that a sample sheet names: its relative paths start at its own folder, on disk or in a bucket."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from ms2img.errors import UsageError
from ms2img.io.location import SCHEME, bucket_and_key, is_remote, join, parent


def located(value: str, sheet: str, where: str, *, allow_outside: bool) -> str:
    """The absolute location of a sheet's entry; links are not followed, so the check is of the text alone.

    Absolute paths and S3 addresses are taken as they are. `where` begins a message. Raises `UsageError`: a relative
    path that climbs above the sheet's folder, unless `allow_outside`; an address of another kind; no address at all.
    """
    if is_remote(value):
        if not all(bucket_and_key(value)) or value.endswith("/"):
            raise UsageError(f"{where} '{value}' names no file; expected {SCHEME}BUCKET/KEY")
        if not {".", ".."}.isdisjoint(value.split("/")):
            raise UsageError(f"{where} '{value}' has a step that no key has: '.' or '..'")
        return value
    if "://" in value:
        raise UsageError(f"{where} '{value}' is no address that is read; expected a local path or {SCHEME}BUCKET/KEY")
    if is_remote(sheet) and not value.startswith("/"):
        found, is_outside = _in_bucket(value, sheet, where)
    else:
        found, is_outside = _on_disk(value, sheet)
    if is_outside and not allow_outside:
        raise UsageError(f"{where} '{value}' lies above the sheet's folder; allow it with --allow-outside")
    return found


def written(location: str, sheet: str) -> str:
    """How a sheet names a file: relative for one below its folder, so that both can move together; else absolute."""
    folder = parent(sheet)
    if is_remote(sheet) != is_remote(location):
        return location
    if not is_remote(sheet):
        path, base = Path(location), os.path.abspath(folder)  # noqa: PTH100 (links are not followed)
        return path.relative_to(base).as_posix() if path.is_relative_to(base) else location
    relative = location.removeprefix(f"{folder}/")
    is_below = (
        relative != location and posixpath.normpath(relative) == relative and not relative.startswith(("/", ".."))
    )
    return relative if is_below else location


def _on_disk(value: str, sheet: str) -> tuple[str, bool]:
    """The path, and whether it climbs above the sheet's folder."""
    if is_remote(sheet):
        return os.path.normpath(value), False
    folder = os.path.abspath(parent(sheet))  # noqa: PTH100 (Path.absolute keeps "..", Path.resolve follows links)
    path = os.path.normpath(os.path.join(folder, value))  # noqa: PTH118
    return path, not Path(path).is_relative_to(folder) and not Path(value).is_absolute()


def _in_bucket(value: str, sheet: str, where: str) -> tuple[str, bool]:
    """As `_on_disk`, for a sheet in a bucket. Keys have no "..", so it is resolved here; the bucket is the top."""
    bucket, key = bucket_and_key(parent(sheet))
    folder = key.split("/") if key else []
    steps = list(folder)
    for step in posixpath.normpath(value).split("/"):
        if step != "..":
            steps.append(step)
        elif steps:
            steps.pop()
        else:
            raise UsageError(f"{where} '{value}' lies above the bucket {SCHEME}{bucket}")
    return join(f"{SCHEME}{bucket}", *steps), steps[: len(folder)] != folder
