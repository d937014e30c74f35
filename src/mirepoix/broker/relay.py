"""The relay: publish the tasks in the ledger that no other process has published.

Such a task was committed by a sender that died, or by a framework that reports no commit. Or it became due, came back
from a worker that died, or was lost by the broker. Every worker has a relay, and one of them is the leader, which acts
(`Relay.is_leader`). If ``celery -A app mirepoix relay`` runs, that is the leader. Two leaders for a moment do no harm:
a task that is published twice is taken once.
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
"""How often each relay checks whether it is the leader."""

CLAIM_S = 5.0
"""How often the leader looks for tasks that an app without a broker wrote."""

LOOK_S = 0.25
"""How often the leader looks without a notification: for tasks that their senders promised to publish and did not."""

LOOK_BUSY_S = 0.05
"""How long the leader waits after a look that found nothing. Tasks that their senders publish wake it too."""

AWAY_S = 0.5


class Relay:
    """The relay. It runs in a thread of a worker's parent process, or it is all that the relay command runs."""

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
        self._noted_trouble: str | None = None
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
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread, and wait until its round is over."""
        self._loop.stop()

    def _work(self) -> float:
        self._wait(self._round())
        return 0.0

    def _round(self) -> float:
        """Do what is due, and return how long to wait for news."""
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
            self._note_trouble(connection, str(error))
            return self._settings.broker_retry_s
        self._note_trouble(connection, self._outbox.trouble)
        return pause_s

    def _note_trouble(self, connection: OwnConnection, trouble: str | None) -> None:
        """Store in this worker's row why it cannot publish, for ``mirepoix health``."""
        worker_id = self._identity()
        if trouble != self._noted_trouble and worker_id is not None:
            with connection.transaction() as tx:
                sending.note_trouble(tx, worker_id, trouble)
            self._noted_trouble = trouble

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
        """Wait *at_least_s*. Then, if no notification came meanwhile, wait a little for one."""
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
