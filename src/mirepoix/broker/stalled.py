"""Detect a stalled consumer: it is connected to the broker, but receives nothing any more (celery issue 8030)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mirepoix.connect.source import OwnConnection
from mirepoix.delivery.host import Host
from mirepoix.ledger import sending
from mirepoix.operations.broker_losses import stalled_queues

logger = logging.getLogger("mirepoix.worker")

NOTE_S = 5.0
"""How often a worker notes when it last received something. It is more often if probes are sent more often."""


class StalledCheck:
    """A worker's check of itself. It calls *exit* if the consumer is stalled and the settings ask for that."""

    def __init__(self, installation: Host, exit: Callable[[], None]) -> None:
        self._installation = installation
        self._exit = exit
        self._next = 0.0
        self._is_stalled = False

    def __call__(self, connection: OwnConnection) -> None:
        """Note when this worker last received something, and decide whether its consumer is stalled."""
        installation, settings = self._installation, self._installation.settings
        worker = installation.worker
        now = time.monotonic()
        if worker is None or now < self._next:
            return
        self._next = now + min(NOTE_S, settings.probe_interval_s / 3 or NOTE_S)
        silent_s = 0.0 if worker.broker_consumer is None else worker.broker_consumer.silent_s()
        with connection.transaction() as tx:
            sending.note_received(tx, worker.leases.worker.id, silent_s)
            seen = sending.seen(tx)
        queues = installation.app.amqp.queues.consume_from
        stalled = stalled_queues(silent_s, queues, seen, settings.probe_interval_s)
        if stalled and not self._is_stalled:
            logger.critical(
                "the consumer is stalled: connected, and received nothing for %.0f s while probes went through %s",
                silent_s,
                ", ".join(stalled),
            )
            if settings.stalled_worker == "exit":
                self._exit()
        self._is_stalled = bool(stalled)
