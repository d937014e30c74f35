"""A page of memory that the pool's processes share with their parent: which job each has begun, and since when.

A job that was given to a process and that has not begun can be recalled. Parent and process agree on that under a lock
of the operating system, which ends with the process that holds it, however it dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_NUMBER = struct.Struct("=Q")
_BEGUN = struct.Struct("=Qd")
_RECALLED_AT = 16
_LIMITED_AT = 24
_OVER_AT = 32
_SIZE = 64


class Page:
    """A slot for each process. Make it before the pool forks; each process uses the slot that its parent chose."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap.mmap(-1, slots * _SIZE)
        # A file of its own, since locks belong to a process and a file. A process that closes it loses its locks.
        self._file = _unnamed_file()
        self._fd = self._file.fileno()

    def close(self) -> None:
        """Release the page, when no process uses it any more."""
        self._file.close()
        self._memory.close()

    def clear(self, slot: int) -> None:
        """Make the slot ready for a new process."""
        self._memory[slot * _SIZE : (slot + 1) * _SIZE] = bytes(_SIZE)

    # ---- in the pool's process

    def begin(self, slot: int, number: int) -> bool:
        """Note that this process begins the job now. False if the parent has recalled the job: it must not run."""
        at = slot * _SIZE
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, slot)
        try:
            if number <= _NUMBER.unpack_from(self._memory, at + _RECALLED_AT)[0]:
                return False
            _BEGUN.pack_into(self._memory, at, number, time.monotonic())
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)
        return True

    def end(self, slot: int, number: int) -> None:
        """Note that the process has the outcome of the job: no time limit may interrupt it any more."""
        _NUMBER.pack_into(self._memory, slot * _SIZE + _OVER_AT, number)

    def is_limited(self, slot: int, number: int) -> bool:
        """Whether the signal of the soft time limit was sent for this job."""
        return bool(_NUMBER.unpack_from(self._memory, slot * _SIZE + _LIMITED_AT)[0] == number)

    # ---- in the parent

    def begun(self, slot: int) -> tuple[int, float]:
        """The number of the job that the process began last, and when, by the monotonic clock; 0 if there is none."""
        number, at = _BEGUN.unpack_from(self._memory, slot * _SIZE)
        return int(number), float(at)

    def is_over(self, slot: int, number: int) -> bool:
        """Whether the process has the outcome of the job, which may not have arrived yet."""
        return bool(_NUMBER.unpack_from(self._memory, slot * _SIZE + _OVER_AT)[0] >= number)

    def recall(self, slot: int, up_to: int) -> int | None:
        """Forbid the process to begin any job up to that number; return the number of the last job that it has begun.

        None if the process is just beginning a job: ask again.
        """
        with self._locked(slot) as is_mine:
            if not is_mine:
                return None
            _NUMBER.pack_into(self._memory, slot * _SIZE + _RECALLED_AT, up_to)
            return self.begun(slot)[0]

    def signal(self, slot: int, number: int, pid: int, signum: int, *, is_soft_limit: bool = False) -> bool:
        """Send a signal to the process if it runs that job now, and return whether it did. No other job can get it."""
        with self._locked(slot) as is_mine:
            if not is_mine or self.begun(slot)[0] != number or self.is_over(slot, number):
                return False
            if is_soft_limit:
                _NUMBER.pack_into(self._memory, slot * _SIZE + _LIMITED_AT, number)
            os.kill(pid, signum)
            return True

    @contextmanager
    def _locked(self, slot: int) -> Iterator[bool]:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)


def _unnamed_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mirepoix-pool"), "wb")
    return tempfile.TemporaryFile(prefix="mirepoix-pool-")
