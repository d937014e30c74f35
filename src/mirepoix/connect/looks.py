"""Say when to look for what nobody tells of: the sooner, the shorter somebody has waited."""

from __future__ import annotations

import time

LOOK_FIRST_S = 0.005
LOOK_LAST_S = 0.1
"""Who waits for results looks after a tenth of the time that it has waited, but not sooner or later than this."""

NOTHING: frozenset[str] = frozenset()
SOMETHING = frozenset({"*"})


class Looks:
    """The looks of one who waits at a time."""

    def __init__(self) -> None:
        self._waits_since = self._looked_at = 0.0

    def due(self) -> frozenset[str]:
        """Now and then that something may have finished."""
        now = time.monotonic()
        if now - self._looked_at > 2 * LOOK_LAST_S:  # somebody else begins to wait
            self._waits_since = self._looked_at = now
            return NOTHING
        if now - self._looked_at < min(LOOK_LAST_S, max(LOOK_FIRST_S, (now - self._waits_since) / 10)):
            return NOTHING
        self._looked_at = now
        return SOMETHING
