"""Judge whether another worker is dead, from its lock, its process and its heartbeats.

A free lock alone proves nothing: a server or a proxy may end the session of a live worker, which then takes the lock
again. A heartbeat that is late by a wall clock proves nothing either, because clocks are set. So a worker is dead

- if its lock is free and its process is gone, which a worker on the same host can see; or
- if its process cannot be seen from this host, its lock stayed free for `CONFIRM_S`, and no heartbeat came; or
- if no heartbeat came for a whole lease. The observer counts that by its own monotonic clock, and only while its own
  heartbeats reach the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mirepoix.daemons import process
from mirepoix.records import Neighbour

CONFIRM_S = 1.5
"""How long the lock of a worker on another host must have been free. A live worker takes its lock again several times
faster."""


@dataclass(frozen=True, slots=True)
class Death:
    """A dead worker, as the observer last saw it, and how its death was detected."""

    worker: Neighbour
    reason: str
    kind: str = "hard"
    """``silent`` if only its heartbeats stopped: it may be frozen or cut off. See `mirepoix.ledger.blame`."""


@dataclass(frozen=True, slots=True)
class _Since:
    heartbeat: Any
    since: float


class Deaths:
    """One worker's observations of the others. Times are of its monotonic clock."""

    def __init__(self, is_gone: Callable[[str | None], bool | None] = process.is_gone) -> None:
        self._is_gone = is_gone
        self._free: dict[str, _Since] = {}
        self._heard: dict[str, _Since] = {}
        self._looked_at: float | None = None

    @property
    def has_suspects(self) -> bool:
        """Whether a lock was free at the last look, so that the next look should be soon."""
        return bool(self._free)

    def forget_locks(self) -> None:
        """Forget which locks were free, because this worker's session ended and others may have ended with it."""
        self._free.clear()

    def of_free(self, free: Iterable[Neighbour], now: float) -> list[Death]:
        """Return the dead workers among *free*, the workers with a free lock."""
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
            # If its process exists, only silence proves its death: `of_silent` judges that.
            if is_gone is None and now - seen.since >= CONFIRM_S:
                dead.append(Death(worker, f"its liveness lock was free for {now - seen.since:.1f} s"))
        return dead

    def of_silent(self, others: Iterable[Neighbour], now: float, steady_since: float) -> list[Death]:
        """Return the workers among *others* that sent no heartbeat for too long. *others* are all that count as alive.

        *steady_since* is the time since when this worker's heartbeats have reached the ledger.
        """
        workers = list(others)
        # After a pause this worker cannot know whether the others were silent, so it begins to count anew.
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
                dead.append(Death(worker, f"it sent no heartbeat for {silent_s:.1f} s", "silent"))
        return dead
