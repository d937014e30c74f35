"""The relay: publish what waits in the ledger and nobody else has told the broker of.

That is what a sender committed and then died, what its framework could not announce, what came due, what came back
from a worker that died, and what the broker has lost. Every worker has a relay, one of them acts (`Relay.is_leader`);
where ``celery -A app mirepoix relay`` runs, that one does. Two that act at once for a moment do no harm: what is
published twice is taken once.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable

from mirepoix.broker.breaker import Breaker
from mirepoix.broker.outbox import Outbox
from mirepoix.broker.publisher import PUBLISHED_TOGETHER, Publisher
from mirepoix.broker.reconcile import Reconciler
from mirepoix.connect.source import OwnConnection
from mirepoix.daemons.loop import Loop
from mirepoix.delivery.host import Host
from mirepoix.errors import BrokerAway
from mirepoix.ledger import sending

logger = logging.getLogger("mirepoix.relay")

ELECTION_S = 0.5
"""How often each relay looks whether it is the one that acts."""

CLAIM_S = 5.0
"""How often the leader looks for tasks that were written by an app without a broker."""

LOOK_S = 0.25
"""How often the leader looks although nothing woke it: for promises that were not kept."""

LOOK_BUSY_S = 0.05
"""At most so often it looks while it is woken by tasks that their senders publish themselves."""

AWAY_S = 0.5


class Relay:
    """A thread of a worker's parent process, or the whole of the relay command."""

    def __init__(
        self, installation: Host, identity: Callable[[], str | None], on_round: Callable[[OwnConnection], None]
    ) -> None:
        self._installation = installation
        self._identity = identity
        self._on_round = on_round
        self._settings = installation.settings
        self._publisher = Publisher(installation.app)
        self._reconciler = Reconciler(installation, self._publisher)
        self._breaker = Breaker(self._settings.broker_retry_s, "tasks wait in the ledger")
        self._outbox = Outbox(self._publisher, self._settings)
        self._said: str | None = None
        self._next_election = self._next_claim = 0.0
        self.is_leader = False
        self._loop = Loop(
            installation.source,
            "relay",
            self._work,
            logger,
            away_s=AWAY_S,
            on_connect=lambda connection: connection.listen(),
            on_end=self._publisher.close,
        )

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread, and wait until its round is done."""
        self._loop.stop()

    def _work(self) -> float:
        self._wait(self._round())
        return 0.0

    def _round(self) -> float:
        """Do what is due; return how long to wait for news."""
        connection = self._loop.connection()
        now = time.monotonic()
        if now >= self._next_election:
            self._next_election = now + ELECTION_S
            self._elect(connection)
            self._on_round(connection)
        if not self.is_leader:
            return ELECTION_S
        if not self._breaker.is_due:
            return min(self._breaker.wait_s, ELECTION_S)
        try:
            pause_s = self._act(connection, now)
        except BrokerAway as error:
            self._breaker.failed(error)
            self._say(connection, str(error))
            return self._settings.broker_retry_s
        self._say(connection, self._outbox.trouble)
        return pause_s

    def _say(self, connection: OwnConnection, trouble: str | None) -> None:
        """Keep in this worker's row what keeps it from publishing: ``mirepoix health`` reads it."""
        worker_id = self._identity()
        if trouble != self._said and worker_id is not None:
            with connection.transaction() as tx:
                sending.note_trouble(tx, worker_id, trouble)
            self._said = trouble

    def _elect(self, connection: OwnConnection) -> None:
        with connection.reading() as tx:
            leader = sending.leader(tx)
        is_leader = leader is not None and leader.worker_id == self._identity()
        if is_leader and not self.is_leader:
            logger.info("this is the relay now")
        elif self.is_leader and not is_leader:
            self._publisher.close()
        self.is_leader = is_leader

    def _act(self, connection: OwnConnection, now: float) -> float:
        if not self._publisher.is_open:
            self._publisher.open()
            self._reconciler.compare(connection, was_away=self._breaker.is_open)
        if now >= self._next_claim:
            self._next_claim = now + CLAIM_S
            with connection.transaction() as tx:
                claimed = sending.claim_unmarked(tx, PUBLISHED_TOGETHER)
            if claimed == PUBLISHED_TOGETHER:
                self._next_claim = now
        published = self._outbox.publish(connection, self._loop.stopped.is_set)
        self._breaker.succeeded()
        self._reconciler.tend(connection)
        return 0.0 if published else LOOK_BUSY_S

    # ---- news

    def _wait(self, at_least_s: float) -> None:
        """Wait that long; then, if nobody has told of news meanwhile, a little for some."""
        self._loop.stopped.wait(at_least_s)
        connection = self._loop.connection()
        if not self.is_leader or connection.news():
            return
        fd = connection.wakeup_fd()
        if fd is None:
            self._loop.stopped.wait(LOOK_BUSY_S)
        else:
            select.select([fd], [], [], LOOK_S)
            connection.news()
