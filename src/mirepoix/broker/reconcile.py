"""Find messages that the broker has lost, and publish them again. `mirepoix.operations.broker_losses` decides."""

from __future__ import annotations

import logging
import time
from collections import Counter

from mirepoix.broker.publisher import Publisher
from mirepoix.connect.source import OwnConnection
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.delivery.host import Host
from mirepoix.ledger import holds, sending
from mirepoix.ledger.sending import QueueInBroker
from mirepoix.operations.broker_losses import Loss, LossJudge

logger = logging.getLogger("mirepoix.relay")

LOOK_S = 1.0
"""The shortest interval between two counts of the queues. It is longer if counting takes long: counting may use only a
twentieth of the time."""

SETTLED_S = 1.0
"""A message that was sent more recently than this may still be on its way."""

PROBES_IN_A_ROW = 3
"""How many probes in a row, one interval apart, a queue must have passed before a worker must have received one. After
a time without a relay, other workers may receive all of the first probes."""


class Reconciler:
    """Compares the broker's queues with the ledger. Only the leader has one. It remembers the counts between looks."""

    def __init__(self, installation: Host, publisher: Publisher) -> None:
        self._settings = installation.settings
        self._publisher = publisher
        self._judge = LossJudge(self._settings, int(installation.app.conf.worker_prefetch_multiplier))
        self._noted: dict[str, tuple[int, float]] = {}
        self._probes: Counter[str] = Counter()
        self._next_look = self._next_probe = 0.0

    def compare(self, connection: OwnConnection, *, was_away: bool) -> None:
        """Publish again what the broker has lost, when it *was_away* or when this relay begins to act."""
        self._judge.forget_empty()
        self._probes.clear()
        if not self._publisher.can_count:
            return
        with connection.reading() as tx:
            listeners = sending.listeners(tx)
        for queue in self._load(connection):
            if not queue.sent:
                continue
            messages = self._publisher.count(queue.queue)
            loss = self._judge.after_outage(queue, messages, listeners, was_away=was_away)
            if loss is not None:
                self._resend(connection, queue, loss)

    def tend(self, connection: OwnConnection) -> None:
        """Check every queue and send probes, each when it is due. Raises BrokerAway."""
        now = time.monotonic()
        if now >= self._next_look:
            self._look(connection)
            self._next_look = now + max(LOOK_S, 20 * (time.monotonic() - now))
        interval_s = self._settings.probe_interval_s
        if interval_s and now >= self._next_probe:
            if now - self._next_probe > interval_s:
                self._probes.clear()  # perhaps the ledger was away: this probe is not in a row with the last
            self._next_probe = now + interval_s
            self._probe(connection)

    def _look(self, connection: OwnConnection) -> None:
        with connection.reading() as tx:
            seen = sending.waits(tx)
        self._judge.note_waits(seen)
        load = self._load(connection)
        for queue in load:
            if queue.settled:
                self._mend(connection, queue)
        self._judge.forget_empty(but={queue.queue for queue in load if queue.settled})

    def _mend(self, connection: OwnConnection, queue: QueueInBroker) -> None:
        if not self._publisher.can_count:
            self._resend_late(connection, queue, self._judge.deadline_s(queue, None))
            return
        messages = self._publisher.count(queue.queue)
        self._note(connection, queue.queue, messages or 0)
        loss = self._judge.at_look(queue.queue, messages, time.monotonic())
        if loss is not None:
            self._resend(connection, queue, loss)
        if messages is not None:
            self._resend_late(connection, queue, self._judge.deadline_s(queue, messages))

    def _resend_late(self, connection: OwnConnection, queue: QueueInBroker, deadline_s: float) -> None:
        if (queue.oldest_sent_s or 0.0) >= deadline_s:
            with connection.transaction() as tx:
                late = sending.resend_late(tx, queue.queue, deadline_s)
            if late:
                logger.warning(
                    "%d task(s) of queue %r were not taken in time: publishing them again", late, queue.queue
                )

    def _resend(self, connection: OwnConnection, queue: QueueInBroker, loss: Loss) -> None:
        self._publisher.forget_declared()
        with connection.transaction() as tx:
            again = sending.resend_all(tx, queue.queue, loss.older_than_s)
            reached(Crashpoint.RESEND_BEFORE_COMMIT)
        reached(Crashpoint.RESEND_AFTER_COMMIT)
        if again:
            logger.warning("%d task(s) of queue %r are published again: %s", again, queue.queue, loss.why)

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
        """Send two probes for each listener through each queue: brokers send messages to listeners in turn."""
        with connection.reading() as tx:
            listeners = sending.listeners(tx)
            paused = {hold.value for hold in holds.read(tx) if hold.kind is holds.Kind.QUEUE}
        for queue in sorted({queue for listener in listeners for queue in listener.queues}):
            if queue in paused:  # nobody would take them
                self._probes[queue] = 0
                continue
            count = 2 * sum(queue in listener.queues for listener in listeners)
            self._probes[queue] = self._probes[queue] + 1 if self._publisher.probe(queue, count) else 0
            if self._probes[queue] >= PROBES_IN_A_ROW:
                with connection.transaction() as tx:
                    sending.note_probe(tx, queue)
