"""Peak memory of pool processes, passed to their parent through a page they share."""

from __future__ import annotations

import mmap
import os
import struct

SLOTS = 4096 // 16
_SLOT = struct.Struct("qq")


class Meter:
    """One slot a process: ``(pid, highest resident memory in kB)``. Made before the pool forks.

    With more than 256 processes, or a pool that does not fork, some figures are missing: they are None, never wrong.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, SLOTS * _SLOT.size)

    def note(self, peak_kb: int) -> None:
        """Called by the process itself."""
        pid = os.getpid()
        _SLOT.pack_into(self._page, (pid % SLOTS) * _SLOT.size, pid, peak_kb)

    def read(self, pid: int | None) -> int | None:
        """The last figure of *pid*, for its parent."""
        if pid is None:
            return None
        owner, peak_kb = _SLOT.unpack_from(self._page, (pid % SLOTS) * _SLOT.size)
        return int(peak_kb) if owner == pid else None


def resident_kb(pid: int) -> int | None:
    """The highest resident memory of a running process, from ``/proc``; None if it is dead or there is none."""
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def is_dead(pid: int) -> bool:
    """Whether a child of ours has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return not _exists(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
