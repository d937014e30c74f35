"""Turn the broker's messages into leases. Acknowledge messages in batches, after their leases are committed.

A message only notifies. The worker runs what the ledger contains, and only if it can lease it. A message that arrives
twice, late, or for a cancelled task is acknowledged and forgotten. So no message stays unacknowledged for long, even if
its task runs for hours: no visibility timeout and no ``consumer_timeout`` can repeat it.

A worker without a free place stops consuming after `HOLD_S`. It gives back the messages that it cannot take, so that
other workers get them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mirepoix.broker.acknowledge import acknowledge
from mirepoix.broker.message import (
    LeasedMessage,
    Notification,
    adopted,
    is_of_ledger,
    is_probe,
    task_id_of,
    unreadable,
)
from mirepoix.broker.redis_unacked import keep_no_copy
from mirepoix.broker.returned import Returned
from mirepoix.broker.routes import routes
from mirepoix.broker.tolerant import tolerate
from mirepoix.broker.versions import has_global_qos
from mirepoix.config import MOST_AHEAD
from mirepoix.connect.source import BOUND_S, OwnConnection
from mirepoix.connect.verdict import Verdict, first_line, verdict
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.delivery import private
from mirepoix.delivery.flusher import Flusher
from mirepoix.delivery.host import Host
from mirepoix.delivery.prefetch import Batch
from mirepoix.delivery.wakeup import WakeupPipe
from mirepoix.errors import LedgerAway
from mirepoix.protocol.envelope import is_storable
from mirepoix.protocol.lease import without_lease
from mirepoix.records import Taken

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases

logger = logging.getLogger("mirepoix.delivery")

HOLD_S = 1.0
"""How long a message waits in a worker that has no free place for its task."""

AWAY_S = 0.25
"""How many seconds pass before a ledger that is away is tried again."""

GATHER_S = 0.008
"""The longest time for which messages are gathered while tasks are so quick that a transaction for each would slow them
down. Gathering ends earlier with `GATHER_MOST` messages, or with a quarter (`GATHER_PART`) of the tasks that end in
`Batch.AHEAD_S`."""

GATHER_PART = 4
GATHER_MOST = 50

NARROW_S = 5.0
"""How long tasks must be slow before the prefetch count is lowered."""

BEAT_S = 0.25
"""The seconds between two checks of what no event reports."""


def worth_taking(lookahead: int, can_come: int) -> int:
    """How many messages are enough to take now and not gather more, while *lookahead* tasks end in `Batch.AHEAD_S`.

    *can_come* is how many messages the broker sends before one is acknowledged; 0: any number. More than that would
    never come.
    """
    return min(lookahead // GATHER_PART, GATHER_MOST, can_come or GATHER_MOST)


class BrokerConsumer:
    """The receiving side of one worker's consumer.

    In Celery's event loop it acts once a tick. Without an event loop (gevent, eventlet) it acts when a message arrives
    or a task ends. Then several greenlets may call it at once: the first one does the work of all (see `_turn`).
    """

    def __init__(self, consumer: Any, installation: Host, is_occupied: Callable[[], bool]) -> None:
        self._consumer = consumer
        self._installation = installation
        self._is_occupied = is_occupied
        """Whether the thread that receives messages is running a task."""
        self._run: Callable[[Any], Any] | None = None
        self.counts: Counter[str] = Counter()
        """How many messages were ``taken``, ``adopted``, ``refused``, ``foreign``, ``unreadable`` or a ``probe``. Also
        how many tasks were ``returned``: a worker had them before, and they were taken from the ledger."""
        self._waiting: deque[Notification] = deque()
        self._suspects: deque[Notification] = deque()
        """Messages of suspect tasks. A worker takes only one suspect at a time."""
        self._foreign: list[Any] = []
        """Messages that Celery itself will acknowledge."""
        self._returned = Returned()
        self._took_s = 0.0
        """How long the last transaction took that leased tasks of messages."""
        self._leased: deque[Taken] = deque()
        self._with_worker: set[LeasedMessage] = set()
        self._batch = Batch(MOST_AHEAD)
        self._connection: OwnConnection | None = None
        self._away_until = 0.0
        self._flusher = Flusher(self._flush)
        self._gathering: Any = None
        self._is_paused = False
        """Whether it consumes nothing, because it has no free place."""
        self._closed: frozenset[str] = frozenset()
        """The queues that it does not consume because they are paused."""
        self._paused_version = 0
        self._received_at: dict[str, float] = {}
        self._is_connected = False
        self._listening_since = time.monotonic()
        self._narrow_at = 0.0
        self._one_by_one = 0
        """How many messages must be taken one by one, since the ledger cannot store one of them."""
        self._has_global_qos = False
        self._turning = threading.Lock()
        self._is_wanted = False
        self._timers: list[Any] = []
        self._wakeup: WakeupPipe | None = None

    @property
    def _leases(self) -> Leases | None:
        worker = self._installation.worker
        return None if worker is None else worker.leases

    # ---- its life

    def start(self, run: Callable[[Any], Any]) -> None:
        """Begin to act on a new connection to the broker. *run* is Celery's handler of messages."""
        self._run = run
        self._is_paused = False
        self._is_connected = True
        self._has_global_qos = has_global_qos(self._consumer)
        self._listening_since = time.monotonic()
        keep_no_copy(self._consumer.task_consumer.channel)
        tolerate(self._consumer.task_consumer.channel, self._wanted_now)
        self._closed = frozenset()
        self._close_paused()  # before it consumes anything
        hub = self._consumer.hub
        if hub is None:
            self._timers.append(self._consumer.timer.call_repeatedly(BEAT_S, self._beat))
            return
        hub.on_tick.add(self._tick)
        self._wakeup = WakeupPipe(hub)
        if self._leases is not None:
            self._leases.wake_consumer = self._wakeup.wake
        self._timers.append(hub.call_repeatedly(BEAT_S, self._beat))

    def stop(self) -> None:
        """Stop: the connection to the broker is lost or closed. The broker sends unacknowledged messages again."""
        self._is_connected = False
        hub = self._consumer.hub
        for timer in (*self._timers, self._gathering):
            if timer is not None:
                timer.cancel()
        self._timers, self._gathering = [], None
        self._flusher.cancel()
        if hub is not None:
            hub.on_tick.discard(self._tick)
            if self._wakeup is not None:
                self._wakeup.close()
                self._wakeup = None
        self._waiting.clear()
        self._suspects.clear()
        self._foreign.clear()
        self._leased.clear()
        # Celery has dropped what has not begun, and will never report it as done. Its leases are given back elsewhere.
        leases = self._leases
        running = set() if leases is None else {held.lease.key for held in leases.held.running()}
        self._with_worker = {message for message in self._with_worker if message.lease.key in running}
        self._drop_connection()

    # ---- what comes in

    def receive(self, message: Any) -> None:
        """Handle a message that Celery's consumer received."""
        queue = self._queue_of(message)
        self._received_at[queue] = time.monotonic()
        if queue in self._closed:  # it was on its way when the queue was paused
            message.requeue()
            return
        if is_probe(message):
            self.counts["probe"] += 1
            self._acknowledge([Notification(message, "")])
            return
        task_id = task_id_of(message)
        if task_id is not None and not is_storable(task_id):
            self.park_unreadable(message, f"its id cannot be stored: {task_id!r}")
            return
        foreign = None
        if task_id is None or not is_of_ledger(message):
            try:
                foreign = self._to_adopt(message, queue) if task_id is not None else None
            except (ValueError, TypeError, RecursionError) as error:
                self.park_unreadable(message, f"its task cannot be adopted: {error}")
                return
            if foreign is None:
                if isinstance(message.headers, dict):
                    message.headers = without_lease(message.headers)
                self.counts["foreign"] += 1
                self._foreign.append(message)
                self._handle(message)
                return
        self._waiting.append(Notification(message, str(task_id), foreign))
        if self._consumer.hub is None:
            self._turn()

    def park_unreadable(self, message: Any, reason: str) -> None:
        """Store an unreadable message in the ledger as a parked row, then acknowledge it.

        Celery would drop it, or end the worker.
        """
        row = unreadable(message, self._queue_of(message) or self._installation.app.conf.task_default_queue)
        self._foreign = [other for other in self._foreign if other is not message]
        self._waiting.append(Notification(message, row.id, row, reason))
        if self._consumer.hub is None:
            self._turn()

    def done(self, message: LeasedMessage) -> None:
        """Free the place of a task that the worker has ended."""
        self._with_worker.discard(message)
        if self._consumer.hub is None:
            # Not in this greenlet: it still has its place in the pool, and would wait for it for ever.
            self._consumer.timer.call_after(0, self._turn)

    def silent_s(self) -> float:
        """How many seconds ago the quietest queue delivered something; 0 while this worker does not consume.

        After a pause it counts from the first call that finds the worker consuming. The relay's thread calls it.
        """
        now, since = time.monotonic(), self._listening_since
        is_busy = self._waiting or self._suspects or self._is_occupied() or self._is_full()
        if not self._is_connected or self._is_paused or is_busy:
            self._listening_since = now
            return 0.0
        queues = [queue for queue in self._consumed() if queue not in self._closed]
        return max((now - max(self._received_at.get(queue, since), since) for queue in queues), default=0.0)

    def _is_full(self) -> bool:
        """Whether Celery has so many unacknowledged messages that the broker sends no more, not even a probe.

        The messages of leased tasks are acknowledged, so they do not count.
        """
        limit = self._most_unacknowledged
        return bool(limit) and sum(not message.acknowledged for message in tuple(self._foreign)) >= limit

    @property
    def _most_unacknowledged(self) -> int:
        """How many messages the broker sends before it waits for acknowledgements; 0: any number."""
        qos = self._consumer.qos
        is_shared = qos is not None and self._has_global_qos
        return int(qos.value if is_shared else self._consumer.initial_prefetch_count)

    # ---- acting

    def _tick(self) -> None:
        leases = self._leases
        if leases is not None and leases.paused.version != self._paused_version:
            self._paused_version = leases.paused.version
            self._consumer.call_soon(self._close_paused)
        self._turn()
        if self._leases is not None and not self._is_away:
            self._flusher.flush_soon(self._leases, self._consumer.hub)

    def _beat(self) -> None:
        if self._consumer.hub is None:
            self._turn()
        if self._is_outdated():
            self._consumer.call_soon(self._close_paused)
        if self._waiting and not self._is_paused and time.monotonic() - self._waiting[0].received_at > HOLD_S:
            self._consumer.call_soon(self._pause)
        elif self._is_paused and self._free() > 0 and not self._is_away:
            self._consumer.call_soon(self._resume)
        if self._suspects and time.monotonic() - self._suspects[0].received_at > HOLD_S:
            self._consumer.call_soon(self._let_suspects_go)

    def _turn(self) -> None:
        """Do a round: hand over, take, hand over. A concurrent second caller only makes the first do another round."""
        self._is_wanted = True
        while self._is_wanted and self._turning.acquire(blocking=False):
            try:
                self._is_wanted = False
                self._round()
            finally:
                self._turning.release()

    def _round(self) -> None:
        leases = self._leases
        if leases is None:
            return
        while leases.resumed:
            self._leased.append(leases.resumed.popleft())
        self._hand_over(leases)
        if leases.is_stopping or self._is_away:
            return
        if self._returned.is_due(leases) or leases.limited.is_due:
            self._take_returned(leases)
        if self._suspects and leases.held.may_take_suspect:
            self._waiting.appendleft(self._suspects.popleft())
        if self._waiting and not self._is_away:
            self._take_waiting(leases)

    def _take_waiting(self, leases: Leases) -> None:
        """Take the tasks of messages that wait here, if there are places and it is worth a transaction."""
        wanted = self._wanted(leases)
        self._widen()
        if not wanted or not self._should_take_now():
            return
        if self._one_by_one:
            wanted, self._one_by_one = 1, self._one_by_one - 1
        notifications = [self._waiting.popleft() for _ in range(min(wanted, len(self._waiting)))]
        try:
            settled = self._take(leases, notifications)
        except self._ledger_errors as error:
            self._waiting.extendleft(reversed(notifications))
            if not self._isolate_unstorable(notifications, error):
                self._lost_ledger(error)
            return
        except BaseException:
            self._waiting.extendleft(reversed(notifications))
            raise
        self._acknowledge(settled)
        reached(Crashpoint.RECEIVE_AFTER_ACK)
        self._hand_over(leases)
        self._wake()

    def _take_returned(self, leases: Leases) -> None:
        """Take from the ledger tasks that a worker had before: their messages are at the end of the broker's queue.

        Tasks with a limit have no message, and are taken here as well.

        They take the same places as tasks of messages. A message that comes later finds nothing to lease.
        """
        wanted = self._wanted(leases)
        queues = self._consumed()
        if not wanted or not queues:
            return
        try:
            taken = leases.record_and_take(self._ledger(), queues, wanted, are_returned=True)
        except self._ledger_errors as error:
            self._lost_ledger(error)
            return
        self._returned.note(leases, taken, wanted)
        self.counts["returned"] += len(taken)
        self._leased.extend(taken)
        self._hand_over(leases)
        self._wake()

    def _isolate_unstorable(self, notifications: list[Notification], error: Exception) -> bool:
        """If the ledger refused the content of a message, take the messages one by one, and park the one it refuses.

        Return whether that was the error.
        """
        foreign = [
            notification
            for notification in notifications
            if notification.envelope is not None and notification.unreadable is None
        ]
        if not foreign or verdict(error) is not Verdict.CONTENT:
            return False
        self._is_wanted = True
        if len(notifications) > 1:
            self._one_by_one = len(notifications)
            return True
        self._waiting.popleft()
        self.park_unreadable(foreign[0].message, f"the ledger cannot hold its task: {first_line(error)}")
        return True

    def _take(self, leases: Leases, notifications: list[Notification]) -> list[Notification]:
        """Lease the tasks of these notifications, and return the notifications that are settled. The others wait."""
        foreign = [notification.envelope for notification in notifications if notification.envelope is not None]
        kept = {
            notification.task_id: notification.unreadable
            for notification in notifications
            if notification.unreadable is not None
        }
        began_at = time.monotonic()
        received = leases.record_and_receive(
            self._ledger(), [notification.task_id for notification in notifications], foreign, kept
        )
        self._took_s = time.monotonic() - began_at
        self._leased.extend(received.taken)
        taken = {task.lease.task_id for task in received.taken}
        settled = []
        for notification in notifications:
            if notification.unreadable is not None:
                self.counts["unreadable"] += 1
                logger.error("an unreadable message is parked as %s: %s", notification.task_id, notification.unreadable)
            elif notification.task_id in taken:
                taken.discard(notification.task_id)
                self.counts["adopted" if notification.task_id in received.adopted else "taken"] += 1
            elif received.known.get(notification.task_id):
                # The task is ready, but this worker could not lease it. Either the worker was declared dead and is
                # about to register again. Or the task is a suspect, and must wait for the suspect that runs here.
                (self._waiting if leases.held.may_take_suspect else self._suspects).append(notification)
                continue
            else:
                self.counts["refused"] += 1
                logger.debug("the message of task %s is dropped: it is not waiting", notification.task_id)
            settled.append(notification)
        return settled

    def _hand_over(self, leases: Leases) -> None:
        lane = self._lane
        if lane is not None and self._leased and not leases.is_stopping:
            rows = [*self._leased]
            self._leased.clear()
            # They stay if they have to wait: their messages would go to the end of the broker's queue.
            for taken in lane.take(rows, self._hand_over_row, may_go_back=False):
                self._hand_over_row(taken)
        while self._leased and self._may_hand_over and not leases.is_stopping:
            self._hand_over_row(self._leased.popleft())

    def _hand_over_row(self, taken: Taken) -> None:
        """Hand a leased row over to Celery's consumer, as a message."""
        leases, consumer = self._leases, self._consumer.task_consumer
        if leases is not None:
            leases.held.note_given_to_worker(taken.lease.key)
        try:
            message = LeasedMessage(taken, self._installation, None if consumer is None else consumer.accept, self.done)
        except Exception as error:  # noqa: BLE001 (the row may hold anything)
            if self._installation.worker is not None:
                self._installation.worker.pool_refused(taken.lease, taken.name, error)
            return
        self._with_worker.add(message)
        if message.errors:
            private.reraise_error(message, self._consumer.on_decode_error)
        else:
            self._handle(message)

    def _handle(self, message: Any) -> None:
        if self._run is None:
            raise RuntimeError("a message came before the worker's consumer was started")
        self._run(message)

    def _acknowledge(self, notifications: list[Notification]) -> None:
        self._foreign = [message for message in self._foreign if not message.acknowledged]
        others = [*self._foreign, *(waiting.message for waiting in (*self._waiting, *self._suspects))]
        acknowledge([notification.message for notification in notifications], others, self._consumer.connection_errors)

    # ---- how much

    @property
    def _limit(self) -> int:
        """How many tasks the worker may have at once; 0: any number."""
        limit = int(self._consumer.initial_prefetch_count)
        if self._consumer.hub is not None:
            return limit
        leases = self._leases
        slots = int(leases.worker.concurrency) if leases is not None else 1
        return min(limit or slots, slots)

    @property
    def _headroom(self) -> int:
        """How many tasks beyond that limit are fetched to keep a pool of processes busy while tasks are quick."""
        return self._batch.headroom(self._limit) if self._consumer.hub is not None else 0

    @property
    def _lane(self) -> Any:
        """The short way of rows into the direct pool; None with any other pool."""
        worker = self._installation.worker
        return None if worker is None else worker.lane

    @property
    def _had(self) -> int:
        """How many tasks the worker has."""
        return len(self._with_worker) + (0 if self._lane is None else len(self._lane))

    def _wanted(self, leases: Leases) -> int:
        """How many tasks to take now."""
        is_idle = not len(leases.held)
        wanted = self._batch.wanted(self._free(), self._ahead, leases.held.finished, is_idle=is_idle)
        if not self._returned.is_clearing:
            return wanted
        return max(0, min(wanted, int(leases.worker.concurrency) - self._had - len(self._leased)))

    def _wanted_now(self) -> int:
        """How many messages can be leased in this turn of the loop, beyond those that wait here.

        0 while transactions are quick, since then the loop itself gathers messages between them. 0 also once a message
        came that is in the broker alone: kombu stores those in Redis after it has read them.
        """
        leases = self._leases
        if leases is None or leases.is_stopping or self._is_away or self._is_paused or self._consumer.hub is None:
            return 0
        if self._took_s < GATHER_S or self.counts["foreign"] or self.counts["adopted"]:
            return 0
        return self._batch.to_take(self._free(), self._ahead) - len(self._waiting)

    @property
    def _ahead(self) -> int:
        """How many leased tasks wait for a place. Rows of the short way wait in the pool."""
        if self._lane is None or not self._limit:
            return len(self._leased)
        return len(self._leased) + max(0, self._had - self._limit - self._headroom)

    def _free(self) -> int:
        if not self._limit:
            return MOST_AHEAD
        return max(0, self._limit + self._headroom - self._had)

    @property
    def _may_hand_over(self) -> bool:
        return not self._limit or self._had < self._limit + self._headroom

    def _should_take_now(self) -> bool:
        """Whether to take now and not gather more. Quick tasks take less time than a transaction for each would."""
        enough = worth_taking(self._batch.lookahead, self._most_unacknowledged)
        if len(self._waiting) >= enough or self._consumer.hub is None:
            return True
        if time.monotonic() - self._waiting[0].received_at >= GATHER_S:
            return True
        if self._gathering is None:
            self._gathering = self._consumer.hub.call_later(GATHER_S, self._gathered)
        return False

    def _gathered(self) -> None:
        self._gathering = None  # the tick that follows takes what there is

    def _widen(self) -> None:
        """Set the prefetch count so that messages arrive early and can be taken in batches."""
        qos = self._consumer.qos
        if not self._limit or qos is None or not self._has_global_qos:
            return
        wanted = min(2 * self._batch.lookahead, MOST_AHEAD)
        # The count doubles, since each change is a command to the broker. It falls late, since tasks come in bursts.
        steps = self._limit
        while steps < wanted:
            steps *= 2
        now = time.monotonic()
        if steps >= qos.value:
            self._narrow_at = now + NARROW_S
        if steps > qos.value or now >= self._narrow_at:
            qos.value = steps

    def _pause(self) -> None:
        """Stop consuming, and give back the messages that wait here, so that other workers get them."""
        if self._consumer.task_consumer is None or not self._waiting:
            return
        self._is_paused = True
        self._consumer.task_consumer.cancel()
        while self._waiting:
            self._waiting.pop().message.requeue()

    def _is_outdated(self) -> bool:
        """Whether other queues are paused than those that it does not consume."""
        leases, consumer = self._leases, self._consumer.task_consumer
        if leases is None or consumer is None:
            return False
        closed = leases.paused.closed(self._consumed())
        return closed != self._closed or any(consumer.consuming_from(queue) for queue in closed)

    def _consumed(self) -> list[str]:
        """The queues that the worker consumes, also while they are paused."""
        return list(self._installation.app.amqp.queues.consume_from)

    def _close_paused(self) -> None:
        """Stop consuming paused queues and give back their messages that wait here. Consume resumed queues again.

        A queue that the user has cancelled is not consumed again.
        """
        leases, consumer = self._leases, self._consumer.task_consumer
        if leases is None or consumer is None:
            return
        consumed = self._consumed()
        closed, before = leases.paused.closed(consumed), self._closed
        of_closed = [
            (waiting, notification)
            for waiting in (self._waiting, self._suspects)
            for notification in waiting
            if closed and self._queue_of(notification.message) in closed
        ]
        self._closed = closed
        for queue in closed:
            consumer.cancel_by_queue(queue)
        for waiting, notification in of_closed:
            waiting.remove(notification)
            notification.message.requeue()
        opened = [queue for queue in before - closed if queue in consumed]
        for queue in opened:
            consumer.add_queue(self._installation.app.amqp.queues[queue])
        self._listening_since = time.monotonic()
        if opened and not self._is_paused:
            self._resume()

    def _let_suspects_go(self) -> None:
        """Give suspects back, so that other workers get them. The suspect that runs here may take hours."""
        if self._consumer.task_consumer is not None:
            while self._suspects:
                self._suspects.pop().message.requeue()

    def _resume(self) -> None:
        self._is_paused = False
        self._listening_since = time.monotonic()
        if self._consumer.task_consumer is None:
            return
        try:
            self._consumer.task_consumer.consume()
        except self._consumer.channel_errors as error:
            # The queue was deleted while the worker did not consume. Celery would end the worker for this error. A new
            # connection declares the queue again.
            raise ConnectionResetError(f"a queue can no longer be consumed: {error}") from error

    # ---- the ledger

    def _ledger(self) -> OwnConnection:
        if self._connection is None:
            self._connection = self._installation.source.open(BOUND_S)
        return self._connection

    @property
    def _ledger_errors(self) -> tuple[type[Exception], ...]:
        return (*self._installation.source.errors, LedgerAway)

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def _lost_ledger(self, error: Exception) -> None:
        logger.warning("the ledger cannot be reached, trying again until it can: %s", str(error).strip())
        self._away_until = time.monotonic() + AWAY_S
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
        self._connection = None

    def _flush(self) -> None:
        if self._leases is None:
            return
        try:
            self._leases.flush(self._ledger())
        except self._ledger_errors as error:
            self._lost_ledger(error)

    # ---- details

    def _queue_of(self, message: Any) -> str:
        """The queue that it came from, by its consumer tag, or else by exchange and routing key."""
        info = message.delivery_info or {}
        tag, exchange, key = info.get("consumer_tag"), info.get("exchange"), str(info.get("routing_key") or "")
        consumer = self._consumer.task_consumer
        found = None if consumer is None else private.queue_of_tag(consumer, tag)
        if found is not None:
            return found
        if not exchange:
            return key
        consumed = self._installation.app.amqp.queues.consume_from.values()
        return next((str(q.name) for q in consumed if q.exchange.name == exchange and routes(q, key)), key)

    def _to_adopt(self, message: Any, queue: str) -> Any:
        """The envelope of a task that was sent without the ledger, or None if the worker must not adopt it."""
        if self._installation.settings.foreign_tasks != "adopt":
            return None
        known = self._installation.app.amqp.queues
        if queue in known and known[queue].exchange is not None and known[queue].exchange.type == "fanout":
            return None  # every worker gets it, under the same id
        return adopted(message, queue)

    def _wake(self) -> None:
        # The pool writes to its processes in its own part of the tick, which may have run before ours.
        if self._wakeup is not None:
            self._wakeup.wake()
