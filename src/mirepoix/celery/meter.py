"""A page of memory that pool processes share with their parent: peak memory, and the attempt that each began last."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct

_SLOT = struct.Struct("<qqQ")
_PEAK = struct.Struct("<qq")
_BEGUN_AT = _PEAK.size
SLOTS = 4096 // _SLOT.size


class Meter:
    """One slot for each process: ``(pid, highest resident memory in kB, last attempt)``. Make it before the pool forks.

    With more processes than slots, or a pool that does not fork, some figures are None. No figure is wrong.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, SLOTS * _SLOT.size)

    def note(self, peak_kb: int) -> None:
        """Note the peak memory of the calling process."""
        pid = os.getpid()
        _PEAK.pack_into(self._page, (pid % SLOTS) * _SLOT.size, pid, peak_kb)

    def mark_begun(self, key: tuple[str, int]) -> bool:
        """Mark that this process begins the attempt. Return False if another process began it, and died.

        Celery's pool gives a job to a second process by itself if the first process died before its parent had read
        that it began the job.
        """
        attempt = hashlib.blake2b(f"{key[1]}:{key[0]}".encode(), digest_size=8).digest()
        found = self._page.find(attempt)
        if found >= 0 and found % _SLOT.size == _BEGUN_AT:
            return False
        begun_at = (os.getpid() % SLOTS) * _SLOT.size + _BEGUN_AT
        self._page[begun_at : begun_at + len(attempt)] = attempt
        return True

    def read(self, pid: int | None) -> int | None:
        """The last figure of the process *pid*, for its parent."""
        if pid is None:
            return None
        owner, peak_kb = _PEAK.unpack_from(self._page, (pid % SLOTS) * _SLOT.size)
        return int(peak_kb) if owner == pid else None


def resident_kb(pid: int) -> int | None:
    """The highest resident memory in kB of a running process, from ``/proc``; None if that is not there."""
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def is_dead(pid: int) -> bool:
    """Whether a child process has ended, reaped or not."""
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
