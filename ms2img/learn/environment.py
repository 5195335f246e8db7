"""Process-wide settings that torch's libraries read once, when they are loaded: to be set before torch is imported.

They belong to whoever owns the process, so importing this package sets none of them: `pipelines.folds` starts its
workers with them, and a notebook that trains calls `prepare_environment` in its first cell.
"""

from __future__ import annotations

import os

#: Measured on 2 CPU cores with bench/fit.py.
ENVIRONMENT = {
    # A thread that waits for the others sleeps instead of spinning. Where something else runs on the same cores,
    # spinning made small epochs five times slower; on free cores it gains next to nothing.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Activations of a batch are tens of megabytes that go back to the system after use. Asking for 2 MiB pages spares
    # most of the page faults: a quarter of an epoch of the paper's CNN.
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare_environment() -> None:
    """Set what the user has not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
