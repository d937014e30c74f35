"""How many tasks a worker leases ahead. The number follows the speed of its tasks."""

from __future__ import annotations

import math
import time


class Batch:
    """Computes how many tasks to lease beyond what can run now: as many as this worker finishes in `AHEAD_S`.

    Tasks that take longer are leased one by one when a slot becomes free. So no task waits in a busy worker while
    another worker is idle. Quick tasks are leased by the hundred.
    """

    AHEAD_S = 0.1
    WINDOW_S = 0.05

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.lookahead = 0
        self._since = -math.inf
        self._finished = 0
        self._last = (0, 0.0)
        """How many tasks ended in the window before, and how long it was."""

    def headroom(self, prefetch_count: int) -> int:
        """How many messages beyond the prefetch count are fetched to keep a pool of quick tasks busy."""
        return min(self.lookahead, 2 * prefetch_count)

    def wanted(self, free: int, buffered: int, finished: int, *, is_idle: bool = False) -> int:
        """How many tasks to take now; 0: none yet.

        There are *free* places, and *buffered* leases that wait here. This worker has *finished* so many tasks so far,
        and *is_idle* if it has none now.
        """
        self.measure(finished, time.monotonic(), is_idle=is_idle)
        return self.to_take(free, buffered)

    def to_take(self, free: int, buffered: int) -> int:
        """As `wanted`, by the last measurement."""
        if buffered > self.lookahead // 2:
            return 0
        return min(self._limit, max(0, free + self.lookahead - buffered))

    def measure(self, finished: int, now: float, *, is_idle: bool = False) -> None:
        """Learn that this worker has *finished* so many tasks by that moment, in seconds of any steady clock.

        A window in which no task ended does not count if the worker *is_idle* at its end: it says nothing of how long
        tasks take.
        """
        passed_s = now - self._since
        if not passed_s >= self.WINDOW_S:  # it is no number if a simulation asks at minus infinity
            return
        ended = finished - self._finished
        if not ended:  # the window grows, and no more than one task can be about to end in it
            self.lookahead = min(self.lookahead, int(self.AHEAD_S / passed_s))
            if is_idle:
                self._since, self._last = now, (0, 0.0)
            return
        # Two windows count. Slow tasks may happen to end shortly after each other.
        ended_before, passed_before_s = self._last
        self.lookahead = min(self._limit, int((ended + ended_before) / (passed_s + passed_before_s) * self.AHEAD_S))
        self._since, self._finished, self._last = now, finished, (ended, passed_s)
