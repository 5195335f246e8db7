"""What a file that cannot be read means here, where one section is one file: the end of the command."""

from __future__ import annotations

from ms2img.errors import Code, JobError, RunError, UsageError


def as_end(error: RunError) -> UsageError | JobError:
    """A file that is bad is the user's to put right; a store that does not answer may be well when it runs again."""
    return (JobError if error.code is Code.STORAGE else UsageError)(str(error))
