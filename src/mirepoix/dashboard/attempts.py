"""Slow down who guesses passwords: after some wrong ones an address has to wait."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque

TRIES = 10
WITHIN_S = 300.0
MOST_ADDRESSES = 10_000


class WrongPasswords:
    """The times of the latest wrong passwords of each address and of all together, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def is_held_up(self, address: str) -> bool:
        """Return whether the address has to wait."""
        with self._lock:
            times = self._times.get(address)
            return times is not None and len(times) == TRIES and time.monotonic() - times[0] < WITHIN_S

    def note(self, address: str) -> None:
        """Record a wrong password."""
        with self._lock:
            self._times.setdefault(address, deque(maxlen=TRIES)).append(time.monotonic())
            self._times.move_to_end(address)
            while len(self._times) > MOST_ADDRESSES:
                self._times.popitem(last=False)

    def forget(self, address: str) -> None:
        """Forget the wrong passwords of an address that gave the right one."""
        with self._lock:
            self._times.pop(address, None)
