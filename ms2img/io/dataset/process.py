"""Questions about another process of this machine, answered from Linux's /proc; elsewhere only whether it is there.

No package for it: of all that psutil does, these few reads are needed, and one of them twenty times a second.
"""

from __future__ import annotations

import os
from pathlib import Path

_STATE, _START_TIME = 0, 19  # fields of /proc/PID/stat behind the command's name, see proc(5)
_RESIDENT = 1  # field of /proc/PID/statm, pages


def birth(pid: int) -> str | None:
    """A text that tells this process from a later one of the same number; None when there is no such process.

    A process that has ended and waits to be collected counts as none. Off Linux the text is empty: unknown.
    """
    try:
        # The name may hold blanks and parentheses: what counts stands behind the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if not Path("/proc/self/stat").exists() and _answers(pid) else None
    if fields[_STATE] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[_START_TIME]}"


def namespace() -> str:
    """What process numbers seen here are numbers of: another container has others. Empty off Linux."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (not a path)
    except OSError:
        return ""


def resident_bytes(pid: int) -> int:
    """Memory a process holds, bytes; 0 when there is no such process, or off Linux."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[_RESIDENT])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
