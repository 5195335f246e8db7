"""Finding the programs of the stack; one that is missing is named with the package that has it."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from ms2img.errors import UsageError

POSTGRES_FOLDERS = "/usr/lib/postgresql"  # Debian's, a folder a version, not on the PATH


def program(name: str, package: str) -> str:
    """The path of a program: beside this Python, on the PATH, or in Debian's PostgreSQL folders.

    Raises `UsageError` that names `package` when it is not there.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        found = next((str(path) for path in sorted(Path(POSTGRES_FOLDERS).glob(f"*/bin/{name}"), reverse=True)), None)
    if found is None:
        raise UsageError(f"the native cluster needs the program {name}: {package}")
    return found


def require_module(name: str, package: str) -> None:
    """Raises `UsageError` that names `package` when a Python module is not installed."""
    if find_spec(name) is None:
        raise UsageError(f"the native cluster needs the Python module {name}: {package}")
