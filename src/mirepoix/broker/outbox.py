"""Publish what the ledger has for the broker, in batches: each is noted as sent once the broker has confirmed it."""

from __future__ import annotations

import time
from collections.abc import Callable

from mirepoix.broker.publisher import PUBLISHED_TOGETHER, Publisher, note_sent
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import sending

HELD_UP_S = 5.0
"""How long a queue waits whose messages the broker gave back: those of others go out meanwhile."""


class Outbox:
    """What waits to be published, and the queues that take nothing at the moment."""

    def __init__(self, publisher: Publisher, settings: Settings) -> None:
        self._publisher = publisher
        self._settings = settings
        self._held_up: dict[str, float] = {}

    @property
    def trouble(self) -> str | None:
        """Which queues take nothing at the moment, in words; None if all do."""
        if not self._held_up:
            return None
        return f"the broker takes nothing for queue {', '.join(map(repr, sorted(self._held_up)))} (see the relay's log)"

    def publish(self, connection: OwnConnection, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Publish until nothing is left that is due now; return how many were confirmed. Raises BrokerAway."""
        published = 0
        while not is_stopped():
            now = time.monotonic()
            self._held_up = {queue: until for queue, until in self._held_up.items() if until > now}
            with connection.reading() as tx:
                waiting = sending.unsent(tx, self._settings.relay_grace_s, PUBLISHED_TOGETHER, self._held_up)
            if not waiting:
                break
            confirmed = set(self._publisher.publish([one.envelope for one in waiting]))
            fences = [(one.envelope.id, one.fence) for one in waiting if one.envelope.id in confirmed]
            note_sent(connection.transaction, fences)
            published += len(fences)
            refused = {one.envelope.queue for one in waiting if one.envelope.id not in confirmed}
            self._held_up |= dict.fromkeys(refused, now + HELD_UP_S)
            if len(waiting) < PUBLISHED_TOGETHER and not refused:
                break
        return published
