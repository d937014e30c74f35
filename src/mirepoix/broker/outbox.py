"""Publish the tasks that wait for the broker, in batches. Note each batch as sent after the broker confirmed it."""

from __future__ import annotations

import time
from collections.abc import Callable

from mirepoix.broker.publisher import PUBLISHED_TOGETHER, Publisher, note_sent
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import sending

HELD_UP_S = 5.0
"""How long a queue waits after the broker returned its messages. Other queues are published meanwhile."""


class Outbox:
    """The tasks that wait to be published, and the queues that accept no messages at the moment."""

    def __init__(self, publisher: Publisher, settings: Settings) -> None:
        self._publisher = publisher
        self._settings = settings
        self._held_up: dict[str, float] = {}

    @property
    def trouble(self) -> str | None:
        """A message that names the queues that accept no messages at the moment; None if all accept them."""
        if not self._held_up:
            return None
        return f"the broker takes nothing for queue {', '.join(map(repr, sorted(self._held_up)))} (see the relay's log)"

    def publish(self, connection: OwnConnection, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Publish all that is due now, and return how many were confirmed. Raises BrokerAway."""
        published = 0
        while not is_stopped():
            now = time.monotonic()
            self._held_up = {queue: until for queue, until in self._held_up.items() if until > now}
            with connection.reading() as tx:
                waiting = sending.unsent(tx, self._settings.relay_grace_s, PUBLISHED_TOGETHER, self._held_up)
            if not waiting:
                break
            confirmed = set(self._publisher.publish([unsent.envelope for unsent in waiting]))
            fences = [(unsent.envelope.id, unsent.fence) for unsent in waiting if unsent.envelope.id in confirmed]
            note_sent(connection.transaction, fences)
            published += len(fences)
            refused = {unsent.envelope.queue for unsent in waiting if unsent.envelope.id not in confirmed}
            self._held_up |= dict.fromkeys(refused, now + HELD_UP_S)
            if len(waiting) < PUBLISHED_TOGETHER and not refused:
                break
        return published
