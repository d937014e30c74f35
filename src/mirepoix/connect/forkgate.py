"""Prevent forks while another thread is in the middle of a SQLite statement, or writes a line of a log.

A child that is forked during another thread's SQLite statement can never write. SQLite records a process's file locks
in that process's memory. A child inherits the record, but neither the locks nor the thread that would release them. For
the child the file stays locked for ever. This happened to a pool process that was replaced while the maintenance thread
wrote (`tests/connect/test_fork.py`). So a fork waits for the running statements, which take milliseconds, and new
statements wait for the fork.

A child that is forked while another thread writes to the log hangs with the first line that it logs itself. Python's
buffered files have a lock, and the child inherits it as taken; `logging` renews only its own locks. A pool process is
replaced just when the maintenance thread logs why. So a fork also waits for the lines that other threads log.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WAIT_S = 35.0
"""A fork goes ahead after this time. No statement takes so long, because SQLite gives up waiting for a lock sooner."""


LONGEST_LINE_S = 1.0
"""A fork waits so long for the lines that other threads log, all of them together."""


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


class LogGate:
    """Holds the locks of all log handlers during a fork. In the child, `logging` makes them new."""

    def __init__(self) -> None:
        self._held: list[logging.Handler] = []

    def close(self) -> None:
        """Wait until no other thread writes a line, before a fork."""
        until = time.monotonic() + LONGEST_LINE_S
        for handler in _handlers():
            if handler.lock is not None and handler.lock.acquire(timeout=max(0.0, until - time.monotonic())):
                self._held.append(handler)

    def open(self) -> None:
        """Let them write again, in the parent."""
        while self._held:
            self._held.pop().release()

    def open_in_child(self) -> None:
        """Forget the locks, which are new in the child."""
        self._held.clear()


def _handlers() -> list[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers]
    return list(dict.fromkeys(found))


gate, logs = ForkGate(), LogGate()
# What is registered first is called last before a fork: a thread may log during its statement.
os.register_at_fork(before=logs.close, after_in_parent=logs.open, after_in_child=logs.open_in_child)
os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=gate.open_in_child)
