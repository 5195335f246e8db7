"""Every way a job can refuse its input: one line for a person, one code for a machine.

Two families, because they end differently (see ``docs/architecture.md``, "Failure"):

* `UsageError`: the command, its config or its sheet is wrong. Nothing has been done yet; exit status 2.
* `RunError`: one run (one sample's file) is bad. It becomes a row of ``errors.parquet`` and the job goes on.
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
    NO_COLUMN = "no-column"  # an aligned table without the run's column
    NO_MSMS = "no-msms"  # readable, but no MS/MS spectrum with peaks
    NOTHING_TO_DRAW = "nothing-to-draw"  # MS/MS present, but no fragment lands in the image
    INTERNAL = "internal"  # a defect of ms2img, not of the file


class Ms2imgError(Exception):
    """Base of every error whose message is meant for a user; `exit_code` is the command's exit status."""

    exit_code = 1


class UsageError(Ms2imgError):
    """A wrong argument, config or sheet, found before any work. The message names place and remedy."""

    exit_code = 2


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
        self.message = message
        self.path = path
        self.position = position

    def __str__(self) -> str:
        place = f"{self.path}, {self.position}" if self.position else self.path
        return f"{place}: {self.message} [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive the trip between processes by themselves.
        return (_rebuild_run_error, (self.code, self.message, self.path, self.position))


def _rebuild_run_error(code: Code, message: str, path: str, position: str) -> RunError:
    return RunError(code, message, path=path, position=position)
