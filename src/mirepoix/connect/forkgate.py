"""Keep forks out of SQLite: a child that is forked in the middle of another thread's statement can never write.

SQLite keeps account of a process's file locks in that process's memory. A child inherits the account, but neither the
locks nor the thread that would give them back: to the child the file stays locked for ever (seen: a pool process that
was replaced while the maintenance thread wrote; `tests/connect/test_fork.py`). So a fork waits for the statements under
way, milliseconds, and new ones wait for the fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT_S = 35.0
"""A fork goes ahead after this: no statement takes so long, as SQLite gives up waiting for a lock sooner."""


class ForkGate:
    """Any number of threads may be inside; `close` waits until none but the calling one is."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0
        self._mine = threading.local()

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """While the block lasts, no other thread of this process forks."""
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
        """Before a fork."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside <= getattr(self._mine, "count", 0), LONGEST_WAIT_S)

    def open(self) -> None:
        """After a fork, in the parent."""
        self._changed.release()

    def open_in_child(self) -> None:
        """After a fork, in the child: only the thread that forked is here."""
        self._inside = getattr(self._mine, "count", 0)
        self._changed.release()


gate = ForkGate()
os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=gate.open_in_child)
