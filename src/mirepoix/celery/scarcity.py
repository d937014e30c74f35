"""A note that all processes of a worker share: the database has no connections left, so each closes its idle one."""

from __future__ import annotations

import mmap
import struct
import time

SCARCE_S = 60.0
"""How long idle connections are closed after a connection was refused."""

_UNTIL = struct.Struct("<d")


class Scarcity:
    """The shared note. Make it before the pool forks. Its time is of the monotonic clock, which all processes share."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _UNTIL.size)

    def note(self) -> None:
        """Note that a connection was refused."""
        _UNTIL.pack_into(self._page, 0, time.monotonic() + SCARCE_S)

    @property
    def is_noted(self) -> bool:
        """Whether a connection was refused in the last `SCARCE_S`."""
        (until,) = _UNTIL.unpack_from(self._page)
        return bool(time.monotonic() < until)
