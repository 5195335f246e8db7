"""The members of an archive, as streams in memory: nothing is unpacked to a disk, so no name can lead out of a folder.

Links, devices and folders are passed over. What comes out of an archive is counted while it does: a bomb ends at the
limit, whatever its headers promise.
"""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from ms2img.errors import Code, RunError
from ms2img.io.gunzip import CHUNK_BYTES, gunzip
from ms2img.io.storage import open_bytes

#: Endings of archives, longest first, and how their content is packed.
ARCHIVES = {".tar.xz": "xz", ".tar.gz": "gz", ".txz": "xz", ".tgz": "gz", ".tar": "", ".zip": "zip"}
XZ_MEMORY = 1 << 28  # bytes that unpacking xz may take (ours): xz -9 takes 65 MiB
Member = tuple[str, BinaryIO]


def archive_kind(name: str) -> str | None:
    """How an archive of this name is packed; None for a name that is none."""
    return next((kind for ending, kind in ARCHIVES.items() if name.lower().endswith(ending)), None)


@contextmanager
def members(location: str, max_bytes: int) -> Iterator[Iterator[Member]]:
    """The regular files of an archive, one after the other: name, and a stream that is good until the next one.

    `max_bytes`: how much may come out, all told. Raises `RunError`, also from the streams: as `storage.open_bytes`,
    MALFORMED (not such an archive, damaged, encrypted), TRUNCATED, TOO_LARGE.
    """
    kind = archive_kind(location)
    with open_bytes(location) as stored:
        try:
            if kind == "zip":
                yield _zip_members(stored, location, max_bytes)
            else:
                yield _tar_members(_unpacked(stored, kind or "", location), location, max_bytes)
        except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
            raise RunError(Code.MALFORMED, f"not a sound archive: {error}", path=location) from None


def _unpacked(stored: BinaryIO, kind: str, location: str) -> Iterator[bytes]:
    if kind == "gz":
        return gunzip(stored, location)
    return _unxz(stored, location) if kind == "xz" else iter(lambda: stored.read(CHUNK_BYTES), b"")


def _unxz(stored: BinaryIO, location: str) -> Iterator[bytes]:
    """The content of an xz file in chunks, all its streams, in bounded memory."""
    waiting = stored.read(CHUNK_BYTES)
    while waiting:
        member = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        while not member.eof:
            if member.needs_input and not waiting:
                waiting = stored.read(CHUNK_BYTES)
                if not waiting:
                    raise RunError(Code.TRUNCATED, "ends inside its xz stream; copy the file again", path=location)
            if chunk := member.decompress(waiting, CHUNK_BYTES):
                yield chunk
            waiting = b""
        waiting = (member.unused_data or stored.read(CHUNK_BYTES)).lstrip(b"\0")  # padding between streams


def _tar_members(chunks: Iterator[bytes], location: str, max_bytes: int) -> Iterator[Member]:
    content = cast("BinaryIO", _Counted(lambda size: next(chunks, b""), location, max_bytes))
    with tarfile.open(fileobj=content, mode="r|", errorlevel=0) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is not None:
                yield member.name, cast("BinaryIO", stream)


def _zip_members(stored: BinaryIO, location: str, max_bytes: int) -> Iterator[Member]:
    left = max_bytes
    with zipfile.ZipFile(stored) as archive:
        for member in archive.infolist():
            if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.flag_bits & 1:
                raise RunError(Code.MALFORMED, "an encrypted archive", path=location)
            with archive.open(member) as stream:
                counted = _Counted(stream.read, location, left)
                yield member.filename, cast("BinaryIO", io.BufferedReader(counted, CHUNK_BYTES))
                left = counted.left


class _Counted(io.RawIOBase):
    """What `read` gives, as a stream that refuses to give more than `left` bytes."""

    def __init__(self, read: Callable[[int], bytes], location: str, left: int) -> None:
        self._read = read
        self._location = location
        self._rest = memoryview(b"")
        self.left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase`; `RunError` when more comes out than is allowed."""
        if not self._rest:
            self._rest = memoryview(self._read(CHUNK_BYTES))
            self.left -= len(self._rest)
            if self.left < 0:
                message = "more comes out of this archive than is allowed; see --max-unpacked-gb"
                raise RunError(Code.TOO_LARGE, message, path=self._location)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
