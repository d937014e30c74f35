"""Publish in a thread what this process committed. The code that sends a task never waits for the broker.

If the thread cannot publish a task (the broker is away, the process dies), it forgets the task. The relay finds it in
the ledger, where it is not noted as sent.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from mirepoix.broker.breaker import Breaker
from mirepoix.broker.publisher import PUBLISHED_TOGETHER, Publisher, note_sent
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.errors import BrokerAway
from mirepoix.records import PROMISED, Envelope, Outgoing

logger = logging.getLogger("mirepoix.relay")

MOST_WAITING = 20_000
"""The largest number of tasks that wait in memory to be published. The relay publishes the others."""

NOTE_AFTER_S = 0.2
"""How long confirmed tasks wait before they are noted as sent, together. Workers have taken most of them by then."""

FLUSH_AT_EXIT_S = 2.0
"""How long a process that ends waits for the broker to accept the remaining tasks."""


class Sender:
    """Publishes the tasks of one installation in one process. After a fork the child begins with an empty queue."""

    def __init__(self, app: Any, source: Source, settings: Settings) -> None:
        self._app = app
        self._source = source
        self._settings = settings
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[Envelope] = deque()
        self._events: deque[tuple[Any, dict[str, Any]]] = deque(maxlen=MOST_WAITING)
        self._wakes = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._breaker = Breaker(self._settings.broker_retry_s, "tasks wait in the ledger until the relay reaches it")

    def notify(self, items: Sequence[Outgoing]) -> None:
        """Publish the *items* that this process has promised to publish. Call it after their commit. It never waits."""
        promised = [item for item in items if isinstance(item, Envelope) and item.sent_fence == PROMISED]
        if promised and self._is_willing():
            self._waiting.extend(promised)
            self._wake()

    def event(self, body: Any, **options: Any) -> None:
        """Publish one of Celery's events, unless the broker is away."""
        if self._is_willing():
            self._events.append((body, options))
            self._wake()

    def _is_willing(self) -> bool:
        if self._pid != os.getpid():
            self._reset()
        return self._breaker.is_due and len(self._waiting) < MOST_WAITING

    def _wake(self) -> None:
        if self._thread is None:
            self._begin()
        self._wakes.set()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="mirepoix-sender", daemon=True)
                atexit.register(self._end)
                thread.start()
                self._thread = thread

    def _end(self) -> None:
        if self._pid == os.getpid() and self._thread is not None:
            self._is_ending = True
            self._wakes.set()
            self._thread.join(FLUSH_AT_EXIT_S)

    # ---- the thread

    def _run(self) -> None:
        publisher = Publisher(self._app)
        confirmed: list[tuple[str, int]] = []
        note_at = 0.0
        is_last_round = False
        while not is_last_round:
            if not self._wakes.wait(max(0.0, note_at - time.monotonic()) if confirmed else None):
                self._note(confirmed)
                confirmed = []
            self._wakes.clear()
            is_last_round = self._is_ending
            while self._waiting or self._events:
                fresh = self._publish(publisher)
                if fresh and not confirmed:
                    note_at = time.monotonic() + NOTE_AFTER_S
                confirmed += fresh
                if confirmed and (time.monotonic() >= note_at or len(confirmed) >= PUBLISHED_TOGETHER):
                    self._note(confirmed)
                    confirmed = []
        self._note(confirmed)
        publisher.close()

    def _publish(self, publisher: Publisher) -> list[tuple[str, int]]:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), PUBLISHED_TOGETHER))]
        events = [self._events.popleft() for _ in range(len(self._events))]
        confirmed: list[str] = []
        try:
            if batch:
                confirmed = publisher.publish(batch)
            for body, options in events:
                publisher.event(body, **options)
            self._breaker.succeeded()
        except BrokerAway as error:
            self._breaker.failed(error)
            self._waiting.clear()
            self._events.clear()
        except Exception:
            logger.exception("the process that sent tasks could not publish them; the relay will")
            publisher.close()
        # A new task has fence 0. If an id was sent before, its fence is higher, and the relay publishes that task.
        return [(id, 0) for id in confirmed]

    def _note(self, confirmed: list[tuple[str, int]]) -> None:
        if not confirmed:
            return
        try:
            note_sent(self._source.independent_transaction, confirmed)
        except self._source.disconnects as error:
            logger.debug("published tasks cannot be noted as sent, so the relay publishes them again: %s", error)
        except Exception:
            logger.exception("published tasks cannot be noted as sent, so the relay publishes them again")
