"""Gunzipping a stream of any origin in bounded memory: every damage, and a decompression bomb, is a `RunError`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ms2img.errors import Code, RunError

MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 16
# A bomb is what grows more than BOMB_RATIO-fold (ours) once it gave BOMB_BYTES (ours). Runs shrink 3- to 10-fold, a
# table that is nearly all zeros about 50-fold; deflate ends at 1032-fold. There is no bound on the size itself: readers
# stream, so that a 2 GB mzML.gz is welcome and memory does not depend on it.
BOMB_RATIO = 200
BOMB_BYTES = 1 << 22
_GZIP_WINDOW = 31  # zlib's code for: the largest window, in a gzip envelope with its checksum


def gunzip(stored: BinaryIO, location: str) -> Iterator[bytes]:
    """The content of a gzip file in chunks of at most `CHUNK_BYTES`: all its members, one after the other.

    NUL padding between and behind members is skipped, as gzip does. Raises `RunError`: TRUNCATED, MALFORMED (a wrong
    checksum, no gzip), TOO_LARGE (a bomb).
    """
    taken = given = 0
    waiting = b""
    member = None
    while True:
        if not waiting:
            waiting = stored.read(CHUNK_BYTES)
            taken += len(waiting)
        if member is None:
            at_end = not waiting
            waiting = waiting.lstrip(b"\0")
            if at_end:
                return
            if not waiting:
                continue
            member = zlib.decompressobj(wbits=_GZIP_WINDOW)
        is_last = not waiting  # what the inflater still holds back may come without further input
        try:
            chunk = member.decompress(waiting, CHUNK_BYTES)
        except zlib.error as error:
            raise _malformed(error, location, taken - len(waiting)) from None
        if is_last and not chunk and not member.eof:
            raise RunError(Code.TRUNCATED, "ends inside its gzip stream; copy the file again", path=location)
        if member.eof:
            waiting, member = member.unused_data, None
        else:
            waiting = member.unconsumed_tail
        given += len(chunk)
        used = taken - len(waiting)
        if given > BOMB_BYTES and given > BOMB_RATIO * used:
            message = f"a decompression bomb: {used:,} bytes of gzip gave over {BOMB_RATIO} times as many"
            raise RunError(Code.TOO_LARGE, message, path=location)
        if chunk:
            yield chunk


def _malformed(error: zlib.error, location: str, byte: int) -> RunError:
    what = str(error).rpartition(": ")[2]
    position = f"within {CHUNK_BYTES >> 10} KiB of byte {byte}"
    return RunError(Code.MALFORMED, f"not sound gzip: {what}; copy the file again", path=location, position=position)
