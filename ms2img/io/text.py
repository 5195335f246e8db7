"""Opening a run's text file: UTF-8 or Latin-1 bytes, any line ending, and every refusal a `RunError`."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from ms2img.errors import Code, RunError

HEAD_BYTES = 1 << 16  # how much of a file is looked at for bytes that no text has


def _take_as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


# Titles and comments written on an old Windows machine hold single Latin-1 bytes; they are no reason to lose a run.
codecs.register_error("ms2img-latin1", _take_as_latin1)


def file_status(path: str) -> os.stat_result:
    """The status of a regular, non-empty file. Raises `RunError`: NOT_FOUND, UNREADABLE or EMPTY.

    Asked before opening: opening a named pipe would wait for a writer.
    """
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(Code.NOT_FOUND, "no such file", path=path) from None
    except OSError as error:
        raise _unreadable(error, path) from None
    except ValueError:
        raise RunError(Code.NOT_FOUND, "no such file: a path holds no NUL character", path=path) from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise RunError(Code.UNREADABLE, f"expected a file, this is {what}", path=path)
    if status.st_size == 0:
        raise RunError(Code.EMPTY, "the file is empty (0 bytes)", path=path)
    return status


@contextmanager
def open_bytes(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading bytes. Raises `RunError` as `file_status`; an I/O error in the block is UNREADABLE."""
    file_status(path)
    try:
        with Path(path).open("rb", buffering=HEAD_BYTES) as handle:
            yield handle
    except OSError as error:
        raise _unreadable(error, path) from error


def _unreadable(error: OSError, path: str) -> RunError:
    return RunError(Code.UNREADABLE, f"cannot be read: {(error.strerror or str(error)).lower()}", path=path)


@contextmanager
def open_text(path: str) -> Iterator[TextIO]:
    r"""Open a run's file as text: UTF-8 with or without a byte-order mark, CRLF or LF read as ``\n``.

    A byte that is not UTF-8 is taken as Latin-1. Raises `RunError`: as `open_bytes`, and BAD_ENCODING for a file with
    NUL bytes near its start (UTF-16, an archive, a vendor's binary).
    """
    with open_bytes(path) as handle:
        head: bytes = handle.peek(HEAD_BYTES)  # type: ignore[attr-defined]
        if b"\0" in head:
            raise RunError(
                Code.BAD_ENCODING, "holds NUL bytes: expected text in UTF-8, not binary or UTF-16", path=path
            )
        with io.TextIOWrapper(handle, encoding="utf-8-sig", errors="ms2img-latin1") as text:
            yield text
