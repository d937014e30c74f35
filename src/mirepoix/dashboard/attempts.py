"""Slow down who guesses passwords: after some wrong ones an address has to wait."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque

TRIES = 10
WITHIN_S = 300.0
MOST_ADDRESSES = 10_000
HOUSEHOLD = 64
"""The bits of an IPv6 address that one subscriber cannot choose."""


class WrongPasswords:
    """The times of the latest wrong passwords of each address, in this process.

    A password counts as wrong from before it is checked until it was right, so that many at the same time are no way
    around the limit. A right password does not forget wrong ones for other names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def try_from(self, address: str) -> bool:
        """Count a try of the address. False if the address has to wait."""
        now, group = time.monotonic(), _group(address)
        with self._lock:
            times = self._times.setdefault(group, deque(maxlen=TRIES))
            self._times.move_to_end(group)
            while len(self._times) > MOST_ADDRESSES:
                self._times.popitem(last=False)
            if len(times) == TRIES and now - times[0] < WITHIN_S:
                return False
            times.append(now)
            return True

    def was_right(self, address: str) -> None:
        """Take the latest try of the address back."""
        with self._lock:
            times = self._times.get(_group(address))
            if times:
                times.pop()


def _group(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, HOUSEHOLD), strict=False)) if found.version == 6 else address  # noqa: PLR2004
