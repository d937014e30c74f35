"""Name a process so that others on its host can see whether it is gone. A process id alone may have been reused."""

from __future__ import annotations

import os
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
ENDED = frozenset("ZX")
"""The states of a process that has ended and that its parent has not waited for yet."""


def own() -> str | None:
    """Return the name of this process; None on systems other than Linux."""
    here, began_at = _here(), _began_at(os.getpid())
    return None if here is None or began_at is None else f"{here} {os.getpid()} {began_at}"


def is_gone(process: str | None) -> bool | None:
    """Return whether that process has ended; None if it runs on another host or in another container."""
    here = _here()
    if process is None or here is None or not process.startswith(f"{here} "):
        return None
    pid, began_at = process.removeprefix(f"{here} ").split()
    return _began_at(int(pid)) != began_at


def boot() -> str | None:
    """Name the time since this host was booted: the first word of its processes' names."""
    here = _here()
    return None if here is None else here.partition(" ")[0]


def _here() -> str | None:
    """Name this host since it was booted, and the namespace in which its processes have their numbers."""
    try:
        return f"{BOOT.read_text().strip()} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _began_at(pid: int) -> str | None:
    """Return when a process began, in ticks since the host was booted; None if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in ENDED else words[19]
