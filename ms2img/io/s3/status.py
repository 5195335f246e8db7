"""What lies in an S3 store, and whether it may be read: by name, or many files by listings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ms2img.errors import Code, RunError, UsageError
from ms2img.io.location import SCHEME, FileStatus, bucket_and_key
from ms2img.io.s3.client import CONNECTIONS, Store, store
from ms2img.io.s3.errors import FAILURES, code_of, is_passing, run_error, wrong_setting

LISTED_FROM = 3  # wanted files of one folder from which on a listing is asked for (ours): fewer cost less by name


def status(location: str) -> FileStatus:
    """`ms2img.io.storage.status` of an object."""
    here = store()
    bucket, key = object_at(location)
    try:
        found = _head(here, bucket, key)
    except FAILURES as error:
        raise run_error(with_reason(error, here, bucket, key), here, location) from None
    return checked(found, location)


def _head(here: Store, bucket: str, key: str) -> FileStatus:
    answer = here.patience.retry(partial(here.client.head_object, Bucket=bucket, Key=key), is_passing)
    return FileStatus(int(answer["ContentLength"]), etag(answer))


def statuses(locations: Iterable[str]) -> dict[str, FileStatus | RunError]:
    """`status` of many objects: by listings where a folder has several of them, else by name; many at a time.

    When the store is gone, that is found out once and not once a file.
    """
    wanted = list(dict.fromkeys(locations))
    folders: dict[str, list[str]] = {}
    for location in wanted:
        folders.setdefault(posixpath.dirname(location), []).append(location)
    ask = _Asking()
    found: dict[str, FileStatus | RunError] = {}
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        listed = [group for group in folders.values() if len(group) >= LISTED_FROM]
        for answer in threads.map(ask.listed, listed):
            found |= answer
        unknown = [location for location in wanted if location not in found]
        found |= zip(unknown, threads.map(ask.by_name, unknown), strict=True)
    return {location: found[location] for location in wanted}


class _Asking:
    """Requests for many files that end when one of them found the store gone."""

    def __init__(self) -> None:
        self._store = store()
        self._gone: Exception | None = None

    def by_name(self, location: str) -> FileStatus | RunError:
        """The status of one file."""
        try:
            bucket, key = object_at(location)
            if self._gone is not None:
                raise self._gone
            return checked(_head(self._store, bucket, key), location)
        except RunError as error:
            return error
        except FAILURES as error:
            self._note(error)
            return run_error(with_reason(error, self._store, bucket, key), self._store, location)

    def listed(self, group: list[str]) -> dict[str, FileStatus | RunError]:
        """What a listing says of files of one folder; nothing of those that are to be asked for by name.

        A page of a listing costs about as much as one file by name: a folder with far more files than are wanted is
        left when the pages are as many as the files.
        """
        if self._gone is not None:
            return {}
        bucket = bucket_and_key(group[0])[0]
        keys = {bucket_and_key(location)[1]: location for location in group}
        prefix = posixpath.commonprefix(list(keys))
        found: dict[str, FileStatus | RunError] = {}
        is_whole = True
        try:
            for number, page in enumerate(pages(self._store, bucket, prefix, delimiter="/"), 1):
                for key, answer in page.items():
                    if key in keys:
                        found[keys[key]] = _or_error(answer, keys[key])
                if len(found) == len(keys) or number >= len(keys):
                    is_whole = False
                    break
        except FAILURES as error:
            self._note(error)
            return found  # also where access was denied: some may read what they may not list
        if is_whole:
            missing = (location for location in group if location not in found)
            found |= {each: RunError(Code.NOT_FOUND, "no such file", path=each) for each in missing}
        return found

    def _note(self, error: Exception) -> None:
        if is_passing(error):  # and did not pass
            self._gone = error


def pages(here: Store, bucket: str, prefix: str, *, delimiter: str = "") -> Iterator[dict[str, FileStatus]]:
    """The objects whose key starts with `prefix`, a thousand at a time; boto3's errors once patience has run out.

    With a delimiter only those that have none behind the prefix.
    """
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if delimiter:
        asked["Delimiter"] = delimiter
    while True:
        answer = here.patience.retry(lambda: here.client.list_objects_v2(**asked), is_passing)
        entries = answer.get("Contents", ())
        yield {entry["Key"]: FileStatus(int(entry["Size"]), etag(entry)) for entry in entries}
        if not answer.get("IsTruncated"):
            return
        asked["ContinuationToken"] = answer["NextContinuationToken"]


def etag(answer: dict[str, Any]) -> str:
    """An object's version, without the quotes that some stores write and some do not."""
    return str(answer.get("ETag", "")).strip('"')


def require_access(locations: Iterable[str]) -> None:
    """`ms2img.io.storage.require_access` of S3 locations."""
    first_of = {bucket_and_key(location)[0]: location for location in reversed(list(locations))}
    here = store()
    for bucket, location in first_of.items():
        if not bucket:
            raise UsageError(f"{location}: names no bucket; expected {SCHEME}BUCKET/KEY")
        try:
            here.patience.retry(partial(here.client.list_objects_v2, Bucket=bucket, MaxKeys=1), is_passing)
        except FAILURES as error:
            if code_of(error) == "AccessDenied" and _may_read(here, location):
                continue  # some may read what they may not list
            raise _refusal(error, here, f"{SCHEME}{bucket}") from None


def _may_read(here: Store, location: str) -> bool:
    bucket, key = bucket_and_key(location)
    try:
        here.patience.retry(partial(here.client.head_object, Bucket=bucket, Key=key or "-"), is_passing)
    except FAILURES as error:
        return code_of(error) != "AccessDenied"
    return True


def object_at(location: str) -> tuple[str, str]:
    """Bucket and key of a file. Raises `RunError` for the location of a bucket or folder."""
    bucket, key = bucket_and_key(location)
    if not bucket or not key or key.endswith("/"):
        raise RunError(Code.UNREADABLE, f"expected a file: {SCHEME}BUCKET/KEY", path=location)
    return bucket, key


def checked(found: FileStatus, location: str) -> FileStatus:
    """The status itself. Raises `RunError` for an empty file."""
    if found.size == 0:
        raise RunError(Code.EMPTY, "the file is empty (0 bytes)", path=location)
    return found


def _or_error(found: FileStatus, location: str) -> FileStatus | RunError:
    try:
        return checked(found, location)
    except RunError as error:
        return error


def with_reason(error: Exception, here: Store, bucket: str, key: str) -> Exception:
    """The error itself, or, where it says only "forbidden" or "not there", the one that a listing gives.

    HEAD answers have no body, so they tell a wrong key from a closed door, or a missing file from a missing bucket,
    as little as pyarrow does.
    """
    if is_passing(error):
        return error
    try:
        here.patience.retry(lambda: here.client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1), is_passing)
    except FAILURES as reason:
        return error if code_of(reason) == "AccessDenied" and code_of(error) else reason
    return error


def is_folder(location: str) -> bool:
    """`ms2img.io.storage.is_folder` of an S3 location."""
    bucket, key = bucket_and_key(location)
    if not key or key.endswith("/"):
        return True
    here = store()
    asked = {"Bucket": bucket, "Prefix": f"{key}/", "MaxKeys": 1}
    try:
        answer = here.patience.retry(lambda: here.client.list_objects_v2(**asked), is_passing)
    except FAILURES as error:
        raise _refusal(error, here, location) from None
    return bool(answer.get("Contents"))


def files_in(location: str) -> list[str]:
    """`ms2img.io.storage.files_in` of an S3 location."""
    bucket, key = bucket_and_key(location)
    prefix = f"{key.rstrip('/')}/" if key else ""
    here = store()
    try:
        keys = [name for page in pages(here, bucket, prefix, delimiter="/") for name in page]
    except FAILURES as error:
        raise _refusal(error, here, location) from None
    shown = (name for name in sorted(keys) if not name.endswith("/") and not name.removeprefix(prefix).startswith("."))
    return [f"{SCHEME}{bucket}/{name}" for name in shown]


def _refusal(error: Exception, here: Store, location: str) -> UsageError:
    """What cannot be listed, as an error of the command that named it."""
    if isinstance(error, UsageError):
        return error
    return wrong_setting(error, here, location) or UsageError(f"{location}: {run_error(error, here, location).message}")
