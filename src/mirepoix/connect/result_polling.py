"""Decide when to look for results in a database that sends no notifications: more rarely, the longer a caller waits."""

from __future__ import annotations

import time

POLL_FIRST_S = 0.005
POLL_LAST_S = 0.1
"""A caller that waits for results looks after a tenth of the time that it has waited, within these bounds."""

NOTHING: frozenset[str] = frozenset()
SOMETHING = frozenset({"*"})


class ResultPolling:
    """The polling schedule of one waiting caller."""

    def __init__(self) -> None:
        self._waits_since = self._polled_at = 0.0

    def due(self) -> frozenset[str]:
        """Return `SOMETHING` if it is time to look, otherwise `NOTHING`."""
        now = time.monotonic()
        if now - self._polled_at > 2 * POLL_LAST_S:  # another caller begins to wait
            self._waits_since = self._polled_at = now
            return NOTHING
        if now - self._polled_at < min(POLL_LAST_S, max(POLL_FIRST_S, (now - self._waits_since) / 10)):
            return NOTHING
        self._polled_at = now
        return SOMETHING
