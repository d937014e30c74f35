"""A page of memory that the pool's processes share with their parent: which jobs each has begun, and since when.

A job that was given to a process and that has not begun can be recalled. Parent and process agree on that under a lock
of the operating system, which ends with the process that holds it, however it dies.

A process begins its jobs in the order of their numbers. It runs one at a time, or several, each in a place of its own:
the remainder of the job's number by the number of places.
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
_TIME = struct.Struct("=d")

# of a slot
_LAST_BEGUN_AT = 0
_RECALLED_AT = 8
_EXECUTING_AT = 16
_BEAT_AT = 24
_HEAD = 32

# of a place in it, after the number of its job and when that began
_INTERRUPTED_AT = 16
_KIND_AT = 24
_OVER_AT = 32
_PLACE = 40


class Page:
    """A slot for each process. Make it before the pool forks; each process uses the slot that its parent chose."""

    def __init__(self, slots: int, places: int = 1) -> None:
        self.slots = slots
        self.places = places
        self._size = _HEAD + places * _PLACE
        self._memory = mmap.mmap(-1, slots * self._size)
        # A file of its own, since locks belong to a process and a file. A process that closes it loses its locks.
        self._file = _unnamed_file()
        self._fd = self._file.fileno()

    def close(self) -> None:
        """Release the page, when no process uses it any more."""
        self._file.close()
        self._memory.close()

    def clear(self, slot: int) -> None:
        """Make the slot ready for a new process."""
        self._memory[slot * self._size : (slot + 1) * self._size] = bytes(self._size)

    def _place(self, slot: int, number: int) -> int:
        return slot * self._size + _HEAD + (number % self.places) * _PLACE

    def _read(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._memory, at)[0])

    # ---- in the pool's process

    def begin(self, slot: int, number: int) -> bool:
        """Note that this process begins the job now. False if the parent has recalled the job: it must not run."""
        at = slot * self._size
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, slot)
        try:
            if number <= self._read(at + _RECALLED_AT):
                return False
            _BEGUN.pack_into(self._memory, self._place(slot, number), number, time.monotonic())
            _NUMBER.pack_into(self._memory, at + _LAST_BEGUN_AT, number)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)
        return True

    def end(self, slot: int, number: int) -> None:
        """Note that the process has the outcome of the job: no time limit may interrupt it any more."""
        _NUMBER.pack_into(self._memory, self._place(slot, number) + _OVER_AT, number)

    def interruption(self, slot: int, number: int) -> int:
        """Why the signal of the soft time limit was sent for this job: see `soft_limit`; 0 if it was not."""
        at = self._place(slot, number)
        return self._read(at + _KIND_AT) if self._read(at + _INTERRUPTED_AT) == number else 0

    def execute(self, slot: int, number: int) -> None:
        """Note the job whose code a process that runs several executes from now on; 0: none. Its event loop turns."""
        _BEGUN.pack_into(self._memory, slot * self._size + _EXECUTING_AT, number, time.monotonic())

    # ---- in the parent

    def last_begun(self, slot: int) -> int:
        """The number of the job that the process began last; 0 if there is none."""
        return self._read(slot * self._size + _LAST_BEGUN_AT)

    def begun_at(self, slot: int, number: int) -> float | None:
        """When the process began that job, by the monotonic clock; None if it has not, or another has its place."""
        found, at = _BEGUN.unpack_from(self._memory, self._place(slot, number))
        return float(at) if found == number else None

    def is_over(self, slot: int, number: int) -> bool:
        """Whether the process has the outcome of the job, which may not have arrived yet."""
        return self._read(self._place(slot, number) + _OVER_AT) >= number

    def executing(self, slot: int) -> int:
        """The number of the job whose code a process that runs several executes, or executed when it died; or 0."""
        return self._read(slot * self._size + _EXECUTING_AT)

    def last_beat(self, slot: int) -> float:
        """When the event loop of the process went on last, by the monotonic clock; 0.0 if it never did."""
        return float(_TIME.unpack_from(self._memory, slot * self._size + _BEAT_AT)[0])

    def recall(self, slot: int, up_to: int) -> int | None:
        """Forbid the process to begin any job up to that number; return the number of the last job that it has begun.

        None if the process is just beginning a job: ask again.
        """
        with self._locked(slot) as is_mine:
            if not is_mine:
                return None
            _NUMBER.pack_into(self._memory, slot * self._size + _RECALLED_AT, up_to)
            return self.last_begun(slot)

    def signal(self, slot: int, number: int, pid: int, signum: int, *, interruption: int = 0) -> bool:
        """Send a signal to the process if it runs that job now, and return whether it did. No other job can get it."""
        with self._locked(slot) as is_mine:
            if not is_mine or self.begun_at(slot, number) is None or self.is_over(slot, number):
                return False
            if interruption:
                at = self._place(slot, number)
                _NUMBER.pack_into(self._memory, at + _KIND_AT, interruption)
                _NUMBER.pack_into(self._memory, at + _INTERRUPTED_AT, number)
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
