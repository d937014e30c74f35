"""A pipe that makes Celery's event loop run another turn."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any


class WakeupPipe:
    """A pipe that makes the loop's ``poll()`` return, so that the loop sees work that came up during a turn."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._is_closed = False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        loop.add_reader(self._reading, self._drain, self._reading)

    def wake(self) -> None:
        """Make the loop run another turn. Any thread may call it. A full pipe does that already."""
        with suppress(BlockingIOError), self._lock:
            if not self._is_closed:
                os.write(self._writing, b"x")

    def close(self) -> None:
        """Remove the pipe from the loop, and close it."""
        with suppress(Exception):
            self._loop.remove_reader(self._reading)
        with self._lock:
            self._is_closed = True
            os.close(self._reading)
            os.close(self._writing)

    def _drain(self, fd: int) -> None:
        with suppress(BlockingIOError):
            os.read(fd, 4096)
