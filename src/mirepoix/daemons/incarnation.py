"""A worker's identity in the ledger: its row, its liveness lock and its heartbeats.

If the ledger declared the worker dead (after a long freeze, or a cut network), the process goes on as a new incarnation
with a new id. The leases of the old one are lost.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace

from mirepoix.config import Settings
from mirepoix.connect.source import LivenessLock, Source
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import workers
from mirepoix.records import Worker

SHORTEST_BOUND_S = 2.0
"""A heartbeat may take at least so long, even if the lease is short."""


class Incarnation:
    """The row of a worker process, and the lock that proves that the process lives."""

    def __init__(self, source: Source, settings: Settings, worker: Worker) -> None:
        self._source = source
        self._settings = settings
        self.worker = worker
        self.liveness: LivenessLock | None = None
        self._liveness_key = 0
        self._queues = worker.queues
        self.steady_since = time.monotonic()
        """Since when heartbeats have reached the ledger, by the monotonic clock."""

    def register(self) -> None:
        """Begin a new incarnation. It holds its lock before its row is committed. Call this before any fork."""
        self.worker = replace(self.worker, id=f"{self.worker.name}#{uuid.uuid4().hex[:12]}")
        old = self.liveness
        connection = self._source.open(self.bound_s)
        try:
            with connection.transaction() as tx:
                key = workers.register(tx, self.worker, self._settings.lease_ttl_s)
                lock = self._source.hold_liveness(self.worker.id, key, self.bound_s)
                reached(Crashpoint.REGISTER_BEFORE_COMMIT)
            lock.confirm()
            reached(Crashpoint.REGISTER_AFTER_COMMIT)
        finally:
            connection.close()
        self.liveness, self._liveness_key = lock, key
        if old is not None:
            old.close(is_over=True)

    @property
    def bound_s(self) -> float:
        """How long a heartbeat may take. After a failed heartbeat, two more fit into the lease."""
        return max(SHORTEST_BOUND_S, self._settings.lease_ttl_s / 3)

    def has_lost_lock(self) -> bool:
        """Return whether the liveness lock has to be taken again."""
        return self.liveness is not None and not self.liveness.is_held()

    def retake_liveness(self) -> None:
        """Take the liveness lock again after its session ended. Earlier children do not share the new session."""
        old = self.liveness
        self.liveness = self._source.hold_liveness(self.worker.id, self._liveness_key, self.bound_s, old)
        self.liveness.confirm()
        if old is not None:
            old.close()

    def heartbeat(self, idle_s: float, *, is_stopping: bool) -> bool:
        """Renew every lease. False if this incarnation was declared dead. *idle_s* is the age of its maintenance."""
        if self.liveness is None:
            raise RuntimeError("a worker without a registration cannot send a heartbeat")
        queues = self._queues
        with self.liveness.statements() as tx:
            is_alive = workers.heartbeat(
                tx, self.worker.id, self._settings.lease_ttl_s, idle_s, is_stopping=is_stopping
            )
            if queues != self.worker.queues:
                workers.take_from(tx, self.worker.id, queues)
        self.worker = replace(self.worker, queues=queues)
        reached(Crashpoint.HEARTBEAT_AFTER_COMMIT)
        return is_alive

    def take_from(self, queues: Iterable[str]) -> None:
        """Record that remote control changed the queues. The next heartbeat writes them into the ledger."""
        self._queues = tuple(queues)

    @property
    def has_other_queues(self) -> bool:
        """Whether the next heartbeat has to write new queues."""
        return self._queues != self.worker.queues

    def reason_of_end(self) -> str:
        """Return why the ledger ended this incarnation."""
        if self.liveness is not None:
            with contextlib.suppress(*self._source.disconnects), self.liveness.statements() as tx:
                return workers.end_of(tx, self.worker.id) or "its row is gone"
        return "the reason cannot be read now"

    def close(self, *, is_over: bool) -> None:
        """Release the lock. *is_over* says that the worker's row has its end."""
        if self.liveness is not None:
            self.liveness.close(is_over=is_over)
