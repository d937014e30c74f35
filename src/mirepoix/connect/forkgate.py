"""Prevent forks during SQLite statements. A child that is forked during another thread's statement can never write.

SQLite records a process's file locks in that process's memory. A child inherits the record, but neither the locks nor
the thread that would release them. For the child the file stays locked for ever. This happened to a pool process that
was replaced while the maintenance thread wrote (`tests/connect/test_fork.py`). So a fork waits for the running
statements, which take milliseconds, and new statements wait for the fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT_S = 35.0
"""A fork goes ahead after this time. No statement takes so long, because SQLite gives up waiting for a lock sooner."""


class ForkGate:
    """Any number of threads may be inside. `close` waits until at most the calling thread is inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0
        self._mine = threading.local()

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """Prevent other threads of this process from forking inside the block."""
        with self._changed:
            self._inside += 1
            self._mine.count = getattr(self._mine, "count", 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._mine.count -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close the gate before a fork."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside <= getattr(self._mine, "count", 0), LONGEST_WAIT_S)

    def open(self) -> None:
        """Open the gate after a fork, in the parent."""
        self._changed.release()

    def open_in_child(self) -> None:
        """Open the gate after a fork, in the child, which has only the thread that forked."""
        self._inside = getattr(self._mine, "count", 0)
        self._changed.release()


gate = ForkGate()
os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=gate.open_in_child)
