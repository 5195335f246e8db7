"""Process-wide settings that libraries read once, when they are loaded: to be set before torch is imported.

They belong to whoever owns the process, so importing this package sets none of them: `pipelines.folds` starts its
workers with them, and a notebook that trains calls `prepare_environment` in its first cell.
"""

from __future__ import annotations

import os

#: Measured on 2 CPU cores with bench/train_step.py.
ENVIRONMENT = {
    # A thread that waits for the others sleeps instead of spinning. Where something else runs on the same cores,
    # spinning made small epochs five times slower; on free cores it gains next to nothing.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Activations of a batch are tens of megabytes that go back to the system after use. Asking for 2 MiB pages spares
    # most of the page faults: a quarter of an epoch of the paper's CNN.
    "THP_MEM_ALLOC_ENABLE": "1",
    # One heap for all threads: only the main one keeps large blocks (see `hardware.freed_memory_kept`), and Ray Train
    # trains in a thread of its own. Read when the process starts, so it is for workers.
    "MALLOC_ARENA_MAX": "1",
}


def prepare_environment() -> None:
    """Set what the user has not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
