"""The folder a job writes, in an S3 store: whole objects, written at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
from botocore.exceptions import ClientError

from ms2img.io.location import TEMPORARY, FileStatus, bucket_and_key
from ms2img.io.s3.client import Store, store
from ms2img.io.s3.errors import FAILURES, NOT_FOUND, NOT_IMPLEMENTED, is_passing, job_error, status_of
from ms2img.io.s3.read import reader
from ms2img.io.s3.status import etag, pages

DELETED_AT_ONCE = 1000  # the most keys of one request (S3 API, "DeleteObjects")
BAD_REQUEST, CONFLICT, PRECONDITION_FAILED = 400, 409, 412


class S3Folder:
    """A `ms2img.io.storage.Folder` in an object store.

    A write is one request with the whole content, so an aborted one leaves nothing. Where the store ignores the
    conditions of `create` and `replace_if` (see `is_conditional`) they ask first and write then, which two writers in
    the same moment can both survive.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self._bucket, key = bucket_and_key(self.location)
        self._prefix = f"{key}/" if key else ""

    @property
    def is_conditional(self) -> bool:
        """Whether the store keeps the conditions of a write; tried out once a process and bucket."""
        with self._refusing():
            return _is_conditional(self._bucket, self._prefix)

    def read(self, name: str) -> bytes | None:
        """See `Folder`."""
        with self._refusing(name):
            found = self._found(name)
        return None if found is None else found[0]

    def open(self, name: str) -> pa.NativeFile:
        """See `Folder`."""
        here, location = store(), self._location(name)

        def failure(error: Exception) -> Exception:
            if isinstance(error, FileNotFoundError):
                return FileNotFoundError(f"{location}: no such file")
            return job_error(error, here, location)

        return pa.PythonFile(reader(here, location, failure), mode="r")

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """See `Folder`."""
        with self._refusing(name):
            self._put(name, content)

    def names(self, under: str = "") -> dict[str, FileStatus]:
        """See `Folder`."""
        found: dict[str, FileStatus] = {}
        with self._refusing():
            for page in pages(store(), self._bucket, self._prefix + under):
                found |= {key.removeprefix(self._prefix): status for key, status in page.items()}
        shown = sorted(name for name in found if name and not name.endswith(("/", TEMPORARY)))
        return {name: found[name] for name in shown}

    def delete(self, names: Iterable[str]) -> None:
        """See `Folder`."""
        here, left = store(), iter(names)
        while some := list(islice(left, DELETED_AT_ONCE)):
            with self._refusing():
                here.patience.retry(partial(self._delete_at_once, some), is_passing)

    def _delete_at_once(self, names: list[str]) -> None:
        named = {"Objects": [{"Key": self._prefix + name} for name in names], "Quiet": True}
        answer = store().client.delete_objects(Bucket=self._bucket, Delete=named)
        for refused in answer.get("Errors", ()):
            raise ClientError({"Error": refused, "ResponseMetadata": answer["ResponseMetadata"]}, "DeleteObjects")

    def create(self, name: str, content: bytes) -> str | None:
        """See `Folder`."""
        with self._refusing(name):
            if not self.is_conditional:
                return self._put(name, content) if self._found(name) is None else None
            return self._put_if(name, content, IfNoneMatch="*")

    def replace_if(self, name: str, content: bytes, version: str) -> str | None:
        """See `Folder`."""
        with self._refusing(name):
            if not self.is_conditional:
                found = self._found(name)
                return self._put(name, content) if found is not None and found[1] == version else None
            return self._put_if(name, content, IfMatch=f'"{version}"')

    def _put_if(self, name: str, content: bytes, **condition: str) -> str | None:
        """Write under a condition; None where it does not hold."""
        try:
            return self._put(name, content, **condition)
        except FAILURES as error:
            if status_of(error) not in (PRECONDITION_FAILED, CONFLICT, NOT_FOUND):
                raise
            # An earlier attempt may have written it although its answer was lost on the way.
            found = self._found(name)
            return found[1] if found is not None and found[0] == content else None

    def _put(self, name: str, content: bytes | pa.Buffer, **condition: str) -> str:
        here = store()

        def attempt() -> Any:
            body = pa.BufferReader(content) if isinstance(content, pa.Buffer) else content
            return here.client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body, **condition)

        return etag(here.patience.retry(attempt, is_passing))

    def _found(self, name: str) -> tuple[bytes, str] | None:
        """Content and version, None where there is none."""
        here = store()

        def attempt() -> tuple[bytes, str]:
            answer = here.client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            with answer["Body"] as body:
                return body.read(), etag(answer)

        try:
            return here.patience.retry(attempt, is_passing)
        except here.client.exceptions.NoSuchKey:
            return None

    def _location(self, name: str) -> str:
        return f"{self.location}/{name}" if name else self.location

    @contextmanager
    def _refusing(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise job_error(error, store(), self._location(name)) from None


_conditional: dict[tuple[str, str], bool] = {}


def _is_conditional(bucket: str, prefix: str) -> bool:
    """Whether the store keeps both conditions, found out by breaking each of them once."""
    here = store()
    asked = (str(here.client.meta.endpoint_url), bucket)
    if asked not in _conditional:
        key = f"{prefix}.probe-{uuid.uuid4().hex[:8]}{TEMPORARY}"
        put = partial(here.client.put_object, Bucket=bucket, Key=key, Body=b"a trial of conditional writes")
        here.patience.retry(put, is_passing)
        broken = ({"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'})
        _conditional[asked] = all(_is_refused(here, partial(put, **condition)) for condition in broken)
        here.patience.retry(lambda: here.client.delete_object(Bucket=bucket, Key=key), is_passing)
    return _conditional[asked]


def _is_refused(here: Store, write: Callable[[], Any]) -> bool:
    try:
        here.patience.retry(write, is_passing)
    except ClientError as error:
        if status_of(error) == PRECONDITION_FAILED:
            return True
        if status_of(error) in (BAD_REQUEST, NOT_IMPLEMENTED):  # a store that knows the condition, but not how
            return False
        raise
    return False
