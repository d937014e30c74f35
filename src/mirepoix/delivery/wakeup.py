"""A pipe that makes Celery's event loop turn once more."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any


class WakeupPipe:
    """Work that turns up during a turn of the loop is not seen until ``poll()`` returns: the pipe makes it return."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        loop.add_reader(self._reading, self._drain, self._reading)

    def wake(self) -> None:
        """Let the loop turn once more. A full pipe does that already."""
        with suppress(BlockingIOError):
            os.write(self._writing, b"x")

    def close(self) -> None:
        """Leave the loop."""
        with suppress(Exception):
            self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self._writing)

    def _drain(self, fd: int) -> None:
        with suppress(BlockingIOError):
            os.read(fd, 4096)
