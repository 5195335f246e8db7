"""The bytes of an object by ranged requests, without a local copy."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from ms2img.io.location import FileStatus, bucket_and_key
from ms2img.io.s3.client import Store, store
from ms2img.io.s3.errors import FAILURES, is_passing, run_error
from ms2img.io.s3.status import checked, object_at, with_reason

BUFFER_BYTES = 1 << 16
# A file is read by ranges that double from the first to the longest while it is read straight on (ours): its format is
# told from one small request, and a whole run comes at the speed of the line with 8 MB in memory.
FIRST_RANGE, LONGEST_RANGE = 1 << 16, 8 << 20

Failure = Callable[[Exception], Exception]


@contextmanager
def open_bytes(location: str) -> Iterator[BinaryIO]:
    """`ms2img.io.storage.open_bytes` of an object."""
    here = store()
    object_at(location)
    with reader(here, location, lambda error: run_error(error, here, location)) as handle:
        checked(FileStatus(handle.seek(0, io.SEEK_END), ""), location)
        handle.seek(0)
        yield handle


def reader(here: Store, location: str, failure: Failure) -> io.BufferedReader:
    """An object for buffered reading; whatever goes wrong, now or later, is raised as `failure` makes it."""
    bucket, key = bucket_and_key(location)
    try:
        source = here.patience.retry(lambda: here.filesystem().open_input_file(f"{bucket}/{key}"), is_passing)
    except FAILURES as error:
        raise failure(with_reason(error, here, bucket, key)) from None
    return io.BufferedReader(_Ranges(source, here, failure), BUFFER_BYTES)


class _Ranges(io.RawIOBase):
    """The bytes of an object, by ranged requests that are repeated when they fail."""

    def __init__(self, source: pa.NativeFile, here: Store, failure: Failure) -> None:
        self._source, self._store, self._failure = source, here, failure
        self._size = int(source.size())
        self._at = 0
        self._range, self._range_start = b"", 0
        self._next_length = FIRST_RANGE

    def close(self) -> None:
        self._source.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"a negative position: {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        wanted = min(len(into), self._size - self._at)
        if wanted <= 0:
            return 0
        if not self._range_start <= self._at < self._range_start + len(self._range):
            self._fetch(wanted)
        behind = self._at - self._range_start
        part = memoryview(self._range)[behind : behind + wanted]
        into[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _fetch(self, wanted: int) -> None:
        is_straight_on = self._at == self._range_start + len(self._range)
        length = max(wanted, self._next_length if is_straight_on else FIRST_RANGE)
        length = min(length, self._size - self._at)
        try:
            self._range = self._store.patience.retry(lambda: self._ranged(length), is_passing)
        except FAILURES as error:
            raise self._failure(error) from None
        self._range_start = self._at
        self._next_length = min(2 * length, LONGEST_RANGE) if is_straight_on else FIRST_RANGE

    def _ranged(self, length: int) -> bytes:
        content: bytes = self._source.read_at(length, self._at)
        if len(content) != length:
            raise ConnectionError("the answer is shorter than the range")
        return content
