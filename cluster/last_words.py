"""A line for the case that this process ends without one: Ray's core ends its driver when the node it hangs on dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: What the witness runs, isolated and without site packages: it must cost nothing and outlive a Ctrl-C.
_WITNESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not sys.stdin.buffer.read():
    print(sys.argv[1], file=sys.stderr, flush=True)
"""


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Print `text` to standard error if this process ends within the block, in whatever way, without leaving it.

    A child of this process waits at the other end of a pipe; an end of the block, by an exception too, dismisses it.
    """
    witness = subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-I", "-S", "-c", _WITNESS, text], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            witness.communicate(b"dismissed")
