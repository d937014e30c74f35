"""Check the conditions and notify the channels: in a thread of one worker, or in ``mirepoix alerts --watch``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mirepoix.alerts.channels import Channel, channels
from mirepoix.alerts.deliver import deliver_due
from mirepoix.alerts.sync_open import sync_open
from mirepoix.config import Settings
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.daemons.loop import Loop
from mirepoix.ledger import alerts

logger = logging.getLogger("mirepoix.watcher")

PRUNE_S = 3600.0


class AlertThread:
    """Check and notify until `stop`. Each channel has its own thread, so that a slow channel delays no other.

    Every worker has this thread, and only the oldest worker's acts. *identity* returns this worker's id. It is None for
    a process that is not a worker.
    """

    def __init__(self, source: Source, settings: Settings, identity: Callable[[], str | None] | None = None) -> None:
        self._source = source
        self._settings = settings
        self._identity = identity
        self._channels = channels(settings)
        self._notifying: dict[str, threading.Thread] = {}
        self._next_prune = 0.0
        self._loop = Loop(source, "alerts", self._round, logger, away_s=settings.alerts_interval_s)

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread. Wait up to a second for each channel that is being notified."""
        self._loop.stop()
        for thread in self._notifying.values():
            thread.join(timeout=1.0)

    def end_soon(self) -> None:
        """Let `run` return. For signal handlers."""
        self._loop.stopped.set()

    def run(self) -> None:
        """Watch in this thread until `end_soon`."""
        self._loop.run()

    def _round(self) -> float:
        self._watch(self._loop.connection())
        return self._settings.alerts_interval_s

    def _watch(self, connection: OwnConnection) -> None:
        if self._identity is not None:
            with connection.reading() as tx:
                rows = tx.fetch("watching_worker")
            if not rows or rows[0].id != self._identity():
                return
        sync_open(connection, self._settings, [channel.label for channel in self._channels])
        with connection.reading() as tx:
            due = alerts.due_channels(tx)
            ended = alerts.ended_channels(tx)
        for channel in self._channels:
            thread = self._notifying.get(channel.label)
            has_news = channel.label in due or (channel.tells_ends and channel.label in ended)
            if has_news and (thread is None or not thread.is_alive()):
                thread = threading.Thread(target=self._notify, args=(channel,), name="mirepoix-alert", daemon=True)
                self._notifying[channel.label] = thread
                thread.start()
        if self._settings.retention_s is not None and time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_S
            with connection.transaction() as tx:
                alerts.prune(tx, self._settings.retention_s)

    def _notify(self, channel: Channel) -> None:
        try:
            connection = self._source.open(BOUND_S)
            try:
                deliver_due(connection, self._settings, channel)
            finally:
                connection.close()
        except self._source.disconnects:
            logger.warning("the ledger was lost while %s was notified; it may be notified again", channel.label)
        except Exception:
            logger.exception("notifying %s failed; it is tried again", channel.label)
