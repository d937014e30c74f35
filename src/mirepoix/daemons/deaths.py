"""Judge from what can be seen of another worker whether it is dead: from its lock, its process and its heartbeats.

A lock that nobody holds is no proof by itself: a server, or a proxy, ends sessions of living workers too, and these
take the lock again. Nor is a heartbeat that is late by a clock, as clocks are set. So a worker is dead

- if its lock is free and its process is gone, which whoever runs on the same host can see; or
- if that cannot be seen from here, its lock stayed free for `CONFIRM_S` and no heartbeat came; or
- if no heartbeat came for as long as its last one is good for, counted by the monotonic clock of whoever looks on, and
  only while that one's own heartbeats got through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mirepoix.daemons import process
from mirepoix.records import Neighbour

CONFIRM_S = 1.5
"""How long the lock of a worker on another host must have been free: several times as long as it needs to take it again
when its session was ended."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that is dead, as it was seen, and by what that was seen."""

    worker: Neighbour
    reason: str
    kind: str = "hard"
    """``silent`` if only its heartbeats stayed out: it may be frozen or cut off. See `mirepoix.ledger.blame`."""


@dataclass(frozen=True, slots=True)
class _Since:
    heartbeat: Any
    since: float


class Deaths:
    """What one worker has seen of the others. Times are of its monotonic clock."""

    def __init__(self, is_gone: Callable[[str | None], bool | None] = process.is_gone) -> None:
        self._is_gone = is_gone
        self._free: dict[str, _Since] = {}
        self._heard: dict[str, _Since] = {}
        self._looked_at: float | None = None

    @property
    def has_suspects(self) -> bool:
        """Whether a lock was free at the last look, and the next should come soon."""
        return bool(self._free)

    def forget_locks(self) -> None:
        """Sessions end together: after one's own did, it is seen anew who holds a lock."""
        self._free.clear()

    def of_free(self, free: Iterable[Neighbour], now: float) -> list[Death]:
        """Those that are dead of the workers that have a lock which nobody holds at this moment."""
        before, self._free = self._free, {}
        dead = []
        for worker in free:
            is_gone = self._is_gone(worker.process)
            if is_gone:
                dead.append(Death(worker, "its process is gone"))
                continue
            seen = before.get(worker.id)
            if seen is None or seen.heartbeat != worker.heartbeat:
                seen = _Since(worker.heartbeat, now)
            self._free[worker.id] = seen
            # A process that is there, and does not take its lock again, sends no heartbeats either.
            if is_gone is None and now - seen.since >= CONFIRM_S:
                dead.append(Death(worker, f"its liveness lock was free for {now - seen.since:.1f} s"))
        return dead

    def of_silent(self, others: Iterable[Neighbour], now: float, steady_since: float) -> list[Death]:
        """Those of *others*, all that are believed to be alive, from which no heartbeat has come for too long.

        *steady_since* is the time since when heartbeats have been getting through.
        """
        workers = list(others)
        # Whoever did not look for a while cannot tell who was silent, and who only could not get through.
        looked_at, self._looked_at = self._looked_at, now
        before, self._heard = self._heard, {}
        dead = []
        for worker in workers:
            seen = before.get(worker.id)
            has_paused = looked_at is None or now - looked_at >= worker.ttl_s / 2
            if seen is None or seen.heartbeat != worker.heartbeat or has_paused:
                seen = _Since(worker.heartbeat, now)
            self._heard[worker.id] = seen
            silent_s = now - max(seen.since, steady_since)
            if silent_s >= worker.ttl_s:
                dead.append(Death(worker, f"its heartbeat stayed out for {silent_s:.1f} s", "silent"))
        return dead
