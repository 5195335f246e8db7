"""Every way a job can refuse its input: one line for a person, one code for a machine.

Three families, because they end differently (see ``docs/architecture.md``, "Failure"):

* `UsageError`: the command, its config or its sheet is wrong. Nothing has been done yet; exit status 2.
* `RunError`: one run (one sample's file) is bad. It becomes a row of ``errors.parquet`` and the job goes on.
* `JobError`: the job itself cannot go on (disk full, cluster gone). What was done is kept; exit status 1.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The closed list of reasons in the ``code`` column of ``errors.parquet``."""

    NOT_FOUND = "not-found"  # no file at that path
    UNREADABLE = "unreadable"  # exists, but the system refuses to read it (permission, a directory, an I/O error)
    EMPTY = "empty"  # a file without a single record
    UNKNOWN_FORMAT = "unknown-format"  # no reader recognises it
    BAD_ENCODING = "bad-encoding"  # bytes that are not text where text is due
    BAD_HEADER = "bad-header"  # a table whose header lacks what the format requires
    BAD_VALUE = "bad-value"  # a field that is no number, not finite or out of its range
    TRUNCATED = "truncated"  # ends inside a record
    MALFORMED = "malformed"  # XML that is not well-formed, base64 or zlib garbage, a length that lies
    TOO_LARGE = "too-large"  # more than a limit allows: a line, a decompressed stream, an array
    NO_COLUMN = "no-column"  # an aligned table without the run's column
    NO_MSMS = "no-msms"  # readable, but no MS/MS spectrum with peaks
    PROFILE_MSMS = "profile-msms"  # MS/MS in profile mode that is not to be centroided
    MIXED_POLARITY = "mixed-polarity"  # positive and negative MS/MS in one run
    DIA = "dia"  # isolation windows too wide to have one precursor
    NOTHING_TO_DRAW = "nothing-to-draw"  # MS/MS present, but no fragment lands in the image
    STORAGE = "storage"  # the object store did not answer, or refused, after all retries
    TIME_LIMIT = "time-limit"  # reading and drawing took longer than allowed
    MEMORY_LIMIT = "memory-limit"  # ... or more memory
    CRASHED = "crashed"  # the process that read the file died on it
    INTERNAL = "internal"  # a defect of ms2img, not of the file


class Ms2imgError(Exception):
    """Base of every error whose message is meant for a user; `exit_code` is the command's exit status."""

    exit_code = 1

    def __str__(self) -> str:
        return _printable(super().__str__())


class UsageError(Ms2imgError):
    """A wrong argument, config or sheet, found before any work. The message names place and remedy."""

    exit_code = 2


class JobError(Ms2imgError):
    """A job that could not go on though its input is sound: the disk is full, Ray or the object store is gone.

    What was done is kept; the message says what happened, and that the same command goes on from there.
    """


class RunError(Ms2imgError):
    """One run that cannot be converted or scored.

    Parameters
    ----------
    code: what went wrong, from the closed list.
    message: one line: what was found and what would be right.
    path: the file.
    position: where in the file ("line 12", "spectrum 7"), empty if the whole file is meant.
    """

    exit_code = 3

    def __init__(self, code: Code, message: str, *, path: str, position: str = "") -> None:
        super().__init__(code, message, path, position)
        self.code = code
        self.message = _printable(message)
        self.path = path
        self.position = _printable(position)

    def __str__(self) -> str:
        place = f"{self.path}, {self.position}" if self.position else self.path
        return _printable(f"{place}: {self.message} [{self.code}]")

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive the trip between processes by themselves.
        return (_rebuild_run_error, (self.code, self.message, self.path, self.position))


def _printable(text: str) -> str:
    """Without line breaks and terminal commands, which a cell quoted from a hostile file may hold."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _rebuild_run_error(code: Code, message: str, path: str, position: str) -> RunError:
    return RunError(code, message, path=path, position=position)
