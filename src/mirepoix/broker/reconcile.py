"""Find out what the broker has lost of that which it was told, by comparing it with the ledger, and publish it again.

Who is authoritative: the ledger. Whatever waits there is due to be taken; the broker's messages only say so. Three
signs tell that messages are missing, the fastest first:

* the broker was away: what it has now is compared with what it should have, queue by queue;
* a queue is empty or gone, and tasks that it was told of before it was seen to be so are still waiting `EMPTY_S` later
  (a worker that cannot take a task gives its message back sooner);
* a task waits longer than a deadline that follows how long others of its queue have waited lately.

A wrong guess costs a message that comes twice, which is refused. Of a broker that cannot tell how many messages wait
(SQS and the like, which estimate) only the deadline is left.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable

from mirepoix.broker.publisher import Publisher
from mirepoix.config import Settings
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.delivery.host import Host
from mirepoix.ledger import sending
from mirepoix.ledger.sending import Listener, QueueInBroker

logger = logging.getLogger("mirepoix.relay")

LOOK_S = 1.0
"""How often queues are looked at; less often where that takes long: it gets a twentieth of the time."""

SETTLED_S = 1.0
"""A message sent so recently may be on its way."""

EMPTY_S = 2.5
"""How long an empty queue is watched. Workers hold messages that they cannot take for `broker_consumer.HOLD_S`, 1 s."""

WAITS = 3.0
"""A task may wait this many times as long as the slowest of its queue lately."""

LONGEST_WITHOUT_SIGN_S = 600.0
"""What the broker seems to have, by the number of its messages, is published again after this long at the earliest:
messages of others may make up the number."""

PROBES_IN_A_ROW = 3
"""So many probes must have gone through a queue, one interval apart, before the newest is noted as one that should have
been heard: after a time without a relay the first may all be taken by others."""

FADES = 0.98
"""How fast a longest wait is forgotten, at each look."""


def in_hand(queue: str, listeners: Iterable[Listener], settings: Settings, prefetch: int | None = None) -> int:
    """How many messages of a queue workers may have received and not acknowledged, at the most.

    *prefetch* messages for each place, for workers that have just connected.
    """
    return sum(
        max(settings.take_batch, one.concurrency) if prefetch is None else prefetch * one.concurrency
        for one in listeners
        if queue in one.queues
    )


class Reconciler:
    """The leader's. It keeps what it saw between looks."""

    def __init__(self, installation: Host, publisher: Publisher) -> None:
        self._settings = installation.settings
        self._publisher = publisher
        self._prefetch = int(installation.app.conf.worker_prefetch_multiplier)
        self._empty_since: dict[str, float] = {}
        self._waits: dict[str, float] = {}
        self._noted: dict[str, tuple[int, float]] = {}
        self._probes: Counter[str] = Counter()
        self._next_look = self._next_probe = 0.0

    def compare(self, connection: OwnConnection, *, was_away: bool) -> None:
        """The broker *was_away*, or this relay has only begun to act: publish again whatever it has too little of.

        What workers have in hand does not count as missing: little, if they have just connected, or as much as they
        take at a time.
        """
        self._empty_since.clear()
        self._probes.clear()
        if not self._publisher.can_count:
            return
        with connection.reading() as tx:
            listeners = sending.listeners(tx)
        for queue in self._load(connection):
            if not queue.sent:
                continue
            messages = self._publisher.count(queue.queue)
            held = in_hand(queue.queue, listeners, self._settings, self._prefetch if was_away else None)
            if messages is None or messages + held < queue.sent:
                self._publisher.forget_declared()
                self._resend(connection, queue, 0.0, f"of {queue.sent} messages the broker has {messages or 0}")

    def tend(self, connection: OwnConnection) -> None:
        """Look at every queue, and send probes, when it is time to. Raises BrokerAway."""
        now = time.monotonic()
        if now >= self._next_look:
            self._look(connection)
            self._next_look = now + max(LOOK_S, 20 * (time.monotonic() - now))
        interval_s = self._settings.probe_interval_s
        if interval_s and now >= self._next_probe:
            if now - self._next_probe > interval_s:
                self._probes.clear()  # the ledger was away, say: this one is not in a row with the last
            self._next_probe = now + interval_s
            self._probe(connection)

    def _look(self, connection: OwnConnection) -> None:
        with connection.reading() as tx:
            seen = sending.waits(tx)
        self._waits = {
            queue: max(seen.get(queue, 0.0), FADES * self._waits.get(queue, 0.0)) for queue in {*seen, *self._waits}
        }
        load = self._load(connection)
        for queue in load:
            if queue.settled:
                self._judge(connection, queue)
        waiting = {queue.queue for queue in load if queue.settled}
        self._empty_since = {queue: since for queue, since in self._empty_since.items() if queue in waiting}

    def _judge(self, connection: OwnConnection, queue: QueueInBroker) -> None:
        if not self._publisher.can_count:
            self._resend_late(connection, queue, LONGEST_WITHOUT_SIGN_S)
            return
        messages = self._publisher.count(queue.queue)
        self._note(connection, queue.queue, messages or 0)
        now = time.monotonic()
        if messages is None:
            self._publisher.forget_declared()
            self._resend(connection, queue, 0.0, "the broker has no such queue")
            return
        if messages == 0:
            since = self._empty_since.setdefault(queue.queue, now)
            if now - since >= EMPTY_S:
                del self._empty_since[queue.queue]
                self._publisher.forget_declared()
                self._resend(connection, queue, now - since, "the broker's queue is empty")
        else:
            self._empty_since.pop(queue.queue, None)
        self._resend_late(connection, queue, LONGEST_WITHOUT_SIGN_S if messages >= queue.sent else 0.0)

    def _resend_late(self, connection: OwnConnection, queue: QueueInBroker, at_least_s: float) -> None:
        deadline_s = max(self._settings.resend_after_s, WAITS * self._waits.get(queue.queue, 0.0), at_least_s)
        if (queue.oldest_sent_s or 0.0) >= deadline_s:
            with connection.transaction() as tx:
                late = sending.resend_late(tx, queue.queue, deadline_s)
            if late:
                logger.warning("%d task(s) of queue %r were not taken in time and go out again", late, queue.queue)

    def _resend(self, connection: OwnConnection, queue: QueueInBroker, older_than_s: float, why: str) -> None:
        with connection.transaction() as tx:
            again = sending.resend_all(tx, queue.queue, older_than_s)
            reached(Crashpoint.RESEND_BEFORE_COMMIT)
        reached(Crashpoint.RESEND_AFTER_COMMIT)
        if again:
            logger.warning("%d task(s) of queue %r go out again: %s", again, queue.queue, why)

    def _load(self, connection: OwnConnection) -> list[QueueInBroker]:
        with connection.reading() as tx:
            return sending.load(tx, SETTLED_S)

    def _note(self, connection: OwnConnection, queue: str, messages: int) -> None:
        before, at = self._noted.get(queue, (-1, 0.0))
        now = time.monotonic()
        if messages != before or now - at >= self._settings.resend_after_s:
            self._noted[queue] = (messages, now)
            with connection.transaction() as tx:
                sending.note_queue(tx, queue, messages)

    def _probe(self, connection: OwnConnection) -> None:
        """Two probes a listener through each queue: brokers hand them out in turns."""
        with connection.reading() as tx:
            listeners = sending.listeners(tx)
        for queue in sorted({queue for listener in listeners for queue in listener.queues}):
            count = 2 * sum(queue in listener.queues for listener in listeners)
            self._probes[queue] = self._probes[queue] + 1 if self._publisher.probe(queue, count) else 0
            if self._probes[queue] >= PROBES_IN_A_ROW:
                with connection.transaction() as tx:
                    sending.note_probe(tx, queue)
