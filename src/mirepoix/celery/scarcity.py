"""What a worker's processes tell each other: the database takes no more connections, so nobody keeps an idle one."""

from __future__ import annotations

import mmap
import struct
import time

SCARCE_S = 60.0
"""How long connections are not kept after one was refused."""

_UNTIL = struct.Struct("<d")


class Scarcity:
    """Made before the pool forks. Times are of the monotonic clock, which is the same in every process."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _UNTIL.size)

    def note(self) -> None:
        """A connection was refused."""
        _UNTIL.pack_into(self._page, 0, time.monotonic() + SCARCE_S)

    @property
    def is_noted(self) -> bool:
        """Whether one was refused lately."""
        (until,) = _UNTIL.unpack_from(self._page)
        return bool(time.monotonic() < until)
