"""How much a worker takes ahead: Celery's prefetch count, and a batch that follows how fast tasks are."""

from __future__ import annotations

import time
from typing import Any

from kombu.transport import virtual


class QoS(virtual.QoS):  # type: ignore[misc]
    """Acknowledging frees a place in the prefetch and nothing else: the ledger learns outcomes another way."""

    def can_consume(self) -> bool:
        """Whether one more message may be handed to the worker."""
        limit = self.prefetch_count
        return not limit or self.unfinished < limit + self.channel.headroom

    @property
    def unfinished(self) -> int:
        """How many messages are with the worker."""
        return len(self._delivered) - len(self._dirty)

    def ack(self, delivery_tag: Any) -> None:
        """The attempt is over."""
        self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """The attempt is over; where the task goes was decided when its outcome was recorded."""
        self._quick_ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Nothing to restore: leases that have not started are handed back by the holder."""


class Batch:
    """How many tasks to lease beyond what can run now: about as many as finish in a tenth of a second.

    Slow tasks are leased one by one as slots come free, so none waits behind another in a worker that is busy while
    a second worker is idle. Doubled when a batch was gone sooner than `FAST_S`, halved when it took longer
    than `SLOW_S`.
    """

    FAST_S = 0.05
    SLOW_S = 0.2

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.lookahead = 0
        self._taken_at = 0.0
        self._was_full = False

    def headroom(self, prefetch_count: int) -> int:
        """How many messages beyond the prefetch count a pool of quick tasks is kept supplied with."""
        return min(self.lookahead, 2 * prefetch_count)

    def wanted(self, free: int, buffered: int) -> int:
        """How many to take now, with *free* places and *buffered* leases waiting here; 0: not yet."""
        if buffered > self.lookahead // 2:
            return 0
        if self._was_full:
            self._adapt(time.monotonic() - self._taken_at)
        return min(self._limit, max(0, free + self.lookahead - buffered))

    def took(self, wanted: int, taken: int) -> None:
        """Note what came of it."""
        self._taken_at = time.monotonic()
        self._was_full = taken >= wanted

    def _adapt(self, lasted_s: float) -> None:
        self._was_full = False
        if lasted_s < self.FAST_S:
            self.lookahead = min(self._limit, max(4, 2 * self.lookahead))
        elif lasted_s > self.SLOW_S:
            self.lookahead //= 2
