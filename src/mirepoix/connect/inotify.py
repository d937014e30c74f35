"""Detect writes to a file with inotify (Linux). SQLite has no NOTIFY."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_IN_MODIFY = 0x2
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class Watch:
    """A descriptor that is readable if the file was written to since the last `drain`. It does not say what changed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def drain(self) -> None:
        """Discard the pending events."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 65536):
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)


def watch(path: Path) -> Watch | None:
    """Watch a file. Returns None if that is impossible (another system, no such file, no watches left); then poll."""
    if sys.platform != "linux":
        return None
    import ctypes  # slow to import, and a process that only sends does not wait

    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if fd < 0:
        return None
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(fd)
        return None
    return Watch(fd)
