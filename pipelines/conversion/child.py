"""The reader: a process of its own that opens users' files, so that one of them can cost no more than this process.

``python -m pipelines.conversion.child FD`` answers on a socket it inherits: for a list of groups, the number of each
group when it begins and an `Outcome` for each of its runs, then None. It holds nothing that is worth keeping.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection

PR_SET_PDEATHSIG = 1  # prctl(2): the signal a process gets when its parent dies, also while it hangs or is stopped
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "2",
}


def main(descriptor: int, parent: int) -> None:
    """Serve until the other end closes."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        import pyarrow as pa

        from ms2img.ms2toimg.convert_group import convert_group

        pa.set_cpu_count(1)
        connection.send(None)
        while True:
            groups, config = connection.recv()
            for number, group in enumerate(groups):
                connection.send(number)
                for outcome in convert_group(group, config):
                    connection.send(outcome)
            connection.send(None)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
