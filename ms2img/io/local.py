"""Files and folders on a local or mounted disk."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ms2img.errors import Code, JobError, RunError, UsageError
from ms2img.io.location import TEMPORARY, FileStatus

BUFFER_BYTES = 1 << 16
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)  # FAT, some mounts: no hard links


def status(location: str) -> FileStatus:
    """`ms2img.io.storage.status` of a local file."""
    try:
        found = Path(location).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(Code.NOT_FOUND, "no such file", path=location) from None
    except OSError as error:
        raise unreadable(error, location) from None
    except ValueError:
        raise RunError(Code.NOT_FOUND, "no such file: a path holds no NUL character", path=location) from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise RunError(Code.UNREADABLE, f"expected a file, this is {what}", path=location)
    if found.st_size == 0:
        raise RunError(Code.EMPTY, "the file is empty (0 bytes)", path=location)
    return FileStatus(found.st_size, str(found.st_mtime_ns))


@contextmanager
def open_bytes(location: str) -> Iterator[BinaryIO]:
    """`ms2img.io.storage.open_bytes` of a local file."""
    status(location)  # before opening: opening a named pipe would wait for a writer
    try:
        with Path(location).open("rb", buffering=BUFFER_BYTES) as handle:
            yield handle
    except OSError as error:
        raise unreadable(error, location) from error


def files_in(location: str) -> list[str]:
    """`ms2img.io.storage.files_in` of a local folder."""
    try:
        entries = sorted(Path(location).iterdir())
        return [str(entry) for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    except OSError as error:
        raise UsageError(f"{location}: cannot list the folder: {_words(error)}") from None


def unreadable(error: OSError, location: str) -> RunError:
    """An operating system's refusal as this run's error."""
    return RunError(Code.UNREADABLE, f"cannot be read: {_words(error)}", path=location)


class LocalFolder:
    """A `ms2img.io.storage.Folder` on a disk: writes are a temporary file and one rename."""

    is_conditional = True

    def __init__(self, location: str) -> None:
        self.location = str(Path(location).resolve())

    def read(self, name: str) -> bytes | None:
        """See `Folder`."""
        path = Path(self.location, name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refusal(error, path, "read") from None

    def open(self, name: str) -> pa.NativeFile:
        """See `Folder`."""
        path = Path(self.location, name)
        try:
            return pa.OSFile(str(path))
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file") from None
        except OSError as error:
            raise _refusal(error, path, "read") from None

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """See `Folder`."""
        with self._temporary(name, content) as (temporary, path):
            temporary.replace(path)

    def names(self, under: str = "") -> dict[str, FileStatus]:
        """See `Folder`."""
        base = Path(self.location)
        found: dict[str, FileStatus] = {}

        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # a folder that is not there has no files
                raise _refusal(error, Path(error.filename or base), "listed")

        for folder, _, files in os.walk(base / under.rpartition("/")[0], onerror=refuse):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(base).as_posix()
                if name.startswith(under) and not file.endswith(TEMPORARY):
                    with suppress(FileNotFoundError):  # removed since it was listed
                        found[name] = FileStatus(path.stat().st_size, self._version(path))
        return dict(sorted(found.items()))

    def delete(self, names: Iterable[str]) -> None:
        """See `Folder`."""
        for name in names:
            path = Path(self.location, name)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _refusal(error, path, "deleted") from None

    def create(self, name: str, content: bytes) -> str | None:
        """See `Folder`."""
        with self._temporary(name, content) as (temporary, path):
            try:
                path.hardlink_to(temporary)  # fails where there is one, and is whole from the start
            except FileExistsError:
                return None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with _held(path.parent):
                    if path.exists():
                        return None
                    temporary.replace(path)
            return self._version(path)

    def replace_if(self, name: str, content: bytes, version: str) -> str | None:
        """See `Folder`."""
        with self._temporary(name, content) as (temporary, path), _held(path.parent):
            if not path.exists() or self._version(path) != version:
                return None
            temporary.replace(path)
            return self._version(path)

    @contextmanager
    def _temporary(self, name: str, content: bytes | pa.Buffer) -> Iterator[tuple[Path, Path]]:
        """The content in a synced file beside where it belongs, and that place."""
        path = Path(self.location, name)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            yield temporary, path
        except OSError as error:
            raise _refusal(error, path, "written") from None
        finally:
            with suppress(OSError):
                temporary.unlink()

    @staticmethod
    def _version(path: Path) -> str:
        found = path.stat()
        return f"{found.st_mtime_ns}-{found.st_ino}"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Alone in a folder among all that ask so. Where a mount has no locks, without."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refusal(error: OSError, path: Path, what: str) -> JobError | UsageError:
    """Why a job's folder cannot be used: a wrong path or right, or a disk that is full or broken."""
    if error.errno in _NO_SPACE:
        return JobError(f"{path}: cannot be {what}: {_words(error)}, {_free(path)} bytes are free; make room")
    kind = UsageError if error.errno in _REFUSED else JobError
    return kind(f"{path}: cannot be {what}: {_words(error)}")


def _free(path: Path) -> int:
    """Bytes left on the disk that holds a path or its nearest folder that exists."""
    return shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
