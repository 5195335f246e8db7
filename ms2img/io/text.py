"""A run's content, gunzipped where it is gzip, and as text where it is text; every refusal a `RunError`.

Content decides, never the name: a gzip file called ``a.mgf`` is gunzipped, a plain one called ``a.mgf.gz`` is not.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO, cast

from ms2img.errors import Code, RunError
from ms2img.io.gunzip import CHUNK_BYTES, MAGIC, gunzip
from ms2img.io.storage import open_bytes

# A line may be this long (ours): the header of an alignment of 100,000 runs has 6 MB, an MS/MS cell of 100,000 peaks
# 2 MB. What is longer is no line but a file without line ends, which would be held in memory whole.
LINE_BYTES = 1 << 23


@contextmanager
def open_content(location: str) -> Iterator[BinaryIO]:
    """Open a file for reading its bytes from first to last (with `peek`), gunzipped when they are gzip.

    Raises `RunError`: as `storage.open_bytes`, and for gzip, also from inside the block, TRUNCATED, MALFORMED (damaged,
    or gzip within gzip), TOO_LARGE (a decompression bomb), EMPTY (nothing inside).
    """
    with open_bytes(location) as stored:
        if not _head(stored).startswith(MAGIC):
            yield stored
            return
        with _buffered(gunzip(stored, location)) as content:
            head = _head(content)
            if not head:
                raise RunError(Code.EMPTY, "the gzip file holds nothing", path=location)
            if head.startswith(MAGIC):
                raise RunError(Code.MALFORMED, "gzip within gzip; unpack it once", path=location)
            yield content


@contextmanager
def open_text(location: str) -> Iterator[TextIO]:
    r"""Open a run's content as text: UTF-8, or UTF-16 that says so by a byte-order mark; CRLF, CR, LF read as ``\n``.

    A byte that is not UTF-8 is taken as Latin-1. Raises `RunError`: as `open_content`; also from inside the block
    BAD_ENCODING for NUL characters (UTF-16 without a mark, an archive, a vendor's binary) and for damaged UTF-16,
    TOO_LARGE for a line longer than `LINE_BYTES`.
    """
    with open_content(location) as content:
        chunks = iter(lambda: content.read(CHUNK_BYTES), b"")
        if _head(content).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            chunks = _utf16_as_utf8(chunks, location)
        source = cast("BinaryIO", _TextSource(_sound_lines(chunks, location)))
        with io.TextIOWrapper(source, encoding="utf-8-sig", errors="ms2img-latin1") as text:
            yield text


def _head(handle: BinaryIO) -> bytes:
    head: bytes = handle.peek(len(MAGIC))  # type: ignore[attr-defined]
    return head


def _take_as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


# Titles and comments written on an old Windows machine hold single Latin-1 bytes; they are no reason to lose a run.
codecs.register_error("ms2img-latin1", _take_as_latin1)


def _utf16_as_utf8(chunks: Iterator[bytes], location: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RunError(Code.BAD_ENCODING, f"damaged UTF-16: {error.reason}", path=location) from None


def _sound_lines(chunks: Iterator[bytes], location: str) -> Iterator[bytes]:
    """The chunks as they come, refused at the first NUL and where no line ends for `LINE_BYTES`."""
    feeds = returns = length = 0
    for chunk in chunks:
        if b"\0" in chunk:
            before = chunk[: chunk.index(b"\0")]
            line = 1 + max(feeds + before.count(b"\n"), returns + before.count(b"\r"))
            message = "holds NUL characters: expected text in UTF-8, not binary or UTF-16 without a byte-order mark"
            raise RunError(Code.BAD_ENCODING, message, path=location, position=f"line {line}")
        feeds, returns = feeds + chunk.count(b"\n"), returns + chunk.count(b"\r")
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        length = length + len(chunk) if end < 0 else len(chunk) - 1 - end
        if length > LINE_BYTES:
            message = f"a line of over {LINE_BYTES >> 20} MiB: expected lines of text"
            line = 1 + max(feeds, returns)  # a line end is LF, CR, or one of each
            raise RunError(Code.TOO_LARGE, message, path=location, position=f"line {line}")
        yield chunk


class _TextSource:
    """An iterator of byte strings with what `io.TextIOWrapper` asks of its buffer.

    The wrapper looks at `closed` at every line: as a plain attribute, reading MGF takes a tenth less time than over an
    `io.BufferedReader` of a stream written in Python.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.closed = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def read1(self, size: int) -> bytes:
        return next(self._chunks, b"")

    def read(self, size: int = -1) -> bytes:
        return b"".join(self._chunks)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def _buffered(chunks: Iterator[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Chunks(chunks), CHUNK_BYTES)


class _Chunks(io.RawIOBase):
    """An iterator of byte strings as a stream; what it raises comes out of the read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
