"""Turn the broker's messages into leases: taken by id in batches, acknowledged as soon as the leases are durable.

A message only notifies. The worker runs what the ledger holds, and only if it can lease it: a message that comes
twice, late, or for a task that was cancelled is acknowledged and forgotten. So a message is never unacknowledged for
long, however long its task: no visibility timeout and no ``consumer_timeout`` can repeat it.

A worker whose places are all taken stops listening after `HOLD_S` and gives back what it cannot take, so that it waits
for no one in particular.
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
from mirepoix.broker.routes import routes
from mirepoix.broker.tolerant import tolerate
from mirepoix.broker.versions import has_global_qos
from mirepoix.config import MOST_AHEAD
from mirepoix.connect.source import BOUND_S, OwnConnection
from mirepoix.connect.verdict import Verdict, said, verdict
from mirepoix.crashpoints import Crashpoint, reached
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
"""How long a message waits in a worker that has no place for its task."""

AWAY_S = 0.25
"""How often a ledger that is away is tried again."""

GATHER_S = 0.008
"""How long messages are gathered, at the most, while so many quick tasks run that a transaction for each would hold
them up; `GATHER_PART` of what is finished in `Batch.AHEAD_S` is enough, and never more than `GATHER_MOST`."""

GATHER_PART = 4
GATHER_MOST = 50

NARROW_S = 5.0
"""How long tasks must have been slow before the broker is asked to send fewer ahead."""

BEAT_S = 0.25
"""How often a worker looks after what no event would tell it of."""


def worth_taking(lookahead: int, can_come: int) -> int:
    """How many messages are taken without waiting for more, while *lookahead* tasks end in `Batch.AHEAD_S`.

    *can_come* is how many the broker gives out before one is acknowledged, 0 if any number: more would be waited for in
    vain.
    """
    return min(lookahead // GATHER_PART, GATHER_MOST, can_come or GATHER_MOST)


class BrokerConsumer:
    """The receiving side of one worker's consumer.

    In Celery's event loop it acts once a tick. Where there is none (gevent, eventlet) it acts as messages come and
    tasks end; then what must not run twice at once is left to whoever runs it.
    """

    def __init__(self, consumer: Any, installation: Host, is_occupied: Callable[[], bool]) -> None:
        self._consumer = consumer
        self._installation = installation
        self._is_occupied = is_occupied
        """Whether the thread that listens is running a task."""
        self._run: Callable[[Any], Any] | None = None
        self.counts: Counter[str] = Counter()
        """How many messages were ``taken``, ``adopted``, ``refused``, ``foreign``, ``unreadable`` or a ``probe``."""
        self._waiting: deque[Notification] = deque()
        self._suspects: deque[Notification] = deque()
        """Messages of suspects, of which a worker takes one at a time."""
        self._foreign: list[Any] = []
        """Messages that Celery itself acknowledges, as far as it has not."""
        self._leased: deque[Taken] = deque()
        self._with_worker: set[LeasedMessage] = set()
        self._batch = Batch(MOST_AHEAD)
        self._connection: OwnConnection | None = None
        self._away_until = 0.0
        self._flusher = Flusher(self._flush)
        self._gathering: Any = None
        self._is_paused = False
        self._heard: dict[str, float] = {}
        self._is_connected = False
        self._listening_since = time.monotonic()
        self._narrow_at = 0.0
        self._one_by_one = 0
        """How many messages are taken alone, as one of them is not what the ledger can hold."""
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
        """A connection to the broker was made: begin to act. *run* is Celery's handler of messages."""
        self._run = run
        self._is_paused = False
        self._is_connected = True
        self._has_global_qos = has_global_qos(self._consumer)
        self._listening_since = time.monotonic()
        keep_no_copy(self._consumer.task_consumer.channel)
        tolerate(self._consumer.task_consumer.channel)
        hub = self._consumer.hub
        if hub is None:
            self._timers.append(self._consumer.timer.call_repeatedly(BEAT_S, self._beat))
            return
        hub.on_tick.add(self._tick)
        self._wakeup = WakeupPipe(hub)
        self._timers.append(hub.call_repeatedly(BEAT_S, self._beat))

    def stop(self) -> None:
        """The connection to the broker is lost or closed. What was not acknowledged comes again, to whomever."""
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
        # What has not begun is given back by the leases, and Celery has dropped it: it will never say that it is done.
        leases = self._leases
        running = set() if leases is None else {held.lease.key for held in leases.held.running()}
        self._with_worker = {message for message in self._with_worker if message.lease.key in running}
        self._drop_connection()

    # ---- what comes in

    def receive(self, message: Any) -> None:
        """Celery's consumer received this message."""
        queue = self._queue_of(message)
        self._heard[queue] = time.monotonic()
        if is_probe(message):
            self.counts["probe"] += 1
            self._acknowledge([Notification(message, "")])
            return
        task_id = task_id_of(message)
        if task_id is not None and not is_storable(task_id):
            self.keep(message, f"its id cannot be stored: {task_id!r}")
            return
        foreign = None
        if task_id is None or not is_of_ledger(message):
            try:
                foreign = self._to_adopt(message, queue) if task_id is not None else None
            except (ValueError, TypeError, RecursionError) as error:
                self.keep(message, f"its task cannot be adopted: {error}")
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

    def keep(self, message: Any, reason: str) -> None:
        """Nobody can read this message: keep it in the ledger as a parked row, then acknowledge it.

        Celery would throw it away, or end the worker.
        """
        row = unreadable(message, self._queue_of(message) or self._installation.app.conf.task_default_queue)
        self._foreign = [one for one in self._foreign if one is not message]
        self._waiting.append(Notification(message, row.id, row, reason))
        if self._consumer.hub is None:
            self._turn()

    def done(self, message: LeasedMessage) -> None:
        """The worker is done with a task: there is a place for another."""
        self._with_worker.discard(message)
        if self._consumer.hub is None:
            self._turn()

    def silent_s(self) -> float:
        """How long ago something came from the queue that has been silent for longest; 0 while it does not listen.

        It begins to count when it is seen to listen again. Called from the relay's thread.
        """
        now, since = time.monotonic(), self._listening_since
        is_busy = self._waiting or self._suspects or self._is_occupied() or self._is_full()
        if not self._is_connected or self._is_paused or is_busy:
            self._listening_since = now
            return 0.0
        queues = list(self._installation.app.amqp.queues.consume_from)
        return max((now - max(self._heard.get(queue, since), since) for queue in queues), default=0.0)

    def _is_full(self) -> bool:
        """Whether Celery itself has as many messages unacknowledged as the broker gives out: no other comes, no probe.

        What is leased is acknowledged, and takes no place there.
        """
        limit = self._most_unacknowledged
        return bool(limit) and sum(not message.acknowledged for message in tuple(self._foreign)) >= limit

    @property
    def _most_unacknowledged(self) -> int:
        """How many messages the broker gives out before it waits for acknowledgements; 0: any number."""
        qos = self._consumer.qos
        is_shared = qos is not None and self._has_global_qos
        return int(qos.value if is_shared else self._consumer.initial_prefetch_count)

    # ---- acting

    def _tick(self) -> None:
        self._turn()
        if self._leases is not None and not self._is_away:
            self._flusher.flush_soon(self._leases, self._consumer.hub)

    def _beat(self) -> None:
        if self._consumer.hub is None:
            self._turn()
        if self._waiting and not self._is_paused and time.monotonic() - self._waiting[0].received_at > HOLD_S:
            self._consumer.call_soon(self._pause)
        elif self._is_paused and self._free() > 0 and not self._is_away:
            self._consumer.call_soon(self._resume)
        if self._suspects and time.monotonic() - self._suspects[0].received_at > HOLD_S:
            self._consumer.call_soon(self._let_suspects_go)

    def _turn(self) -> None:
        """One round: hand over, take, hand over. A second caller only makes the first go round once more."""
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
        if self._suspects and leases.held.may_take_suspect:
            self._waiting.appendleft(self._suspects.popleft())
        if not self._waiting or leases.is_stopping or self._is_away:
            return
        wanted = self._batch.wanted(self._free(), len(self._leased), leases.held.finished)
        self._widen()
        if not wanted or not self._should_take_now():
            return
        if self._one_by_one:
            wanted, self._one_by_one = 1, self._one_by_one - 1
        notifications = [self._waiting.popleft() for _ in range(min(wanted, len(self._waiting)))]
        try:
            answered = self._take(leases, notifications)
        except self._ledger_errors as error:
            self._waiting.extendleft(reversed(notifications))
            if not self._isolate_unstorable(notifications, error):
                self._lost_ledger(error)
            return
        except BaseException:
            self._waiting.extendleft(reversed(notifications))
            raise
        self._acknowledge(answered)
        reached(Crashpoint.RECEIVE_AFTER_ACK)
        self._hand_over(leases)
        self._wake()

    def _isolate_unstorable(self, notifications: list[Notification], error: Exception) -> bool:
        """Whether the ledger refused what one of these messages contains: that one is kept as it is, and no other."""
        foreign = [
            notification
            for notification in notifications
            if notification.foreign is not None and notification.unreadable is None
        ]
        if not foreign or verdict(error) is not Verdict.CONTENT:
            return False
        self._is_wanted = True
        if len(notifications) > 1:
            self._one_by_one = len(notifications)
            return True
        self._waiting.popleft()
        self.keep(foreign[0].message, f"the ledger cannot hold its task: {said(error)}")
        return True

    def _take(self, leases: Leases, notifications: list[Notification]) -> list[Notification]:
        """Lease the tasks of these notifications; return the notifications that are settled. The others wait."""
        foreign = [notification.foreign for notification in notifications if notification.foreign is not None]
        kept = {
            notification.task_id: notification.unreadable
            for notification in notifications
            if notification.unreadable is not None
        }
        received = leases.record_and_receive(
            self._ledger(), [notification.task_id for notification in notifications], foreign, kept
        )
        self._leased.extend(received.taken)
        taken = {one.lease.task_id for one in received.taken}
        answered = []
        for notification in notifications:
            if notification.unreadable is not None:
                self.counts["unreadable"] += 1
                logger.error(
                    "a message that nobody can read is parked as %s: %s", notification.task_id, notification.unreadable
                )
            elif notification.task_id in taken:
                taken.discard(notification.task_id)
                self.counts["adopted" if notification.task_id in received.adopted else "taken"] += 1
            elif received.known.get(notification.task_id):
                # It is ready, and was refused: this worker was declared dead, and is about to begin anew. Or it is a
                # suspect, and there is one here: it waits for that one's end.
                (self._waiting if leases.held.may_take_suspect else self._suspects).append(notification)
                continue
            else:
                self.counts["refused"] += 1
                logger.debug("the message of task %s is dropped: it is not waiting", notification.task_id)
            answered.append(notification)
        return answered

    def _hand_over(self, leases: Leases) -> None:
        accept = self._consumer.task_consumer.accept if self._consumer.task_consumer is not None else None
        while self._leased and self._may_hand_over and not leases.is_stopping:
            taken = self._leased.popleft()
            leases.held.note_given_to_worker(taken.lease.key)
            try:
                message = LeasedMessage(taken, self._installation, accept, self.done)
            except Exception as error:  # noqa: BLE001 (whatever stands in the row)
                if self._installation.worker is not None:
                    self._installation.worker.pool_refused(taken.lease, taken.name, error)
                continue
            self._with_worker.add(message)
            if message.errors:
                message._reraise_error(self._consumer.on_decode_error)  # noqa: SLF001
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
        """How many tasks may be with the worker at once; 0: any number."""
        limit = int(self._consumer.initial_prefetch_count)
        if self._consumer.hub is not None:
            return limit
        leases = self._leases
        slots = int(leases.worker.concurrency) if leases is not None else 1
        return min(limit or slots, slots)

    @property
    def _headroom(self) -> int:
        """How many beyond that a pool of processes is kept supplied with while tasks are quick."""
        return self._batch.headroom(self._limit) if self._consumer.hub is not None else 0

    def _free(self) -> int:
        if not self._limit:
            return MOST_AHEAD
        return max(0, self._limit + self._headroom - len(self._with_worker))

    @property
    def _may_hand_over(self) -> bool:
        return not self._limit or len(self._with_worker) < self._limit + self._headroom

    def _should_take_now(self) -> bool:
        """Whether to take now, or to gather more first: quick tasks take less time than a transaction for each."""
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
        """Let the broker send ahead what is soon taken, so that it is taken many at a time."""
        qos = self._consumer.qos
        if not self._limit or qos is None or not self._has_global_qos:
            return
        wanted = min(2 * self._batch.lookahead, MOST_AHEAD)
        # In steps, as each is a question to the broker; and down only after a while, as tasks come in bursts.
        steps = self._limit
        while steps < wanted:
            steps *= 2
        now = time.monotonic()
        if steps >= qos.value:
            self._narrow_at = now + NARROW_S
        if steps > qos.value or now >= self._narrow_at:
            qos.value = steps

    def _pause(self) -> None:
        """Stop listening, and let others have what waits here."""
        if self._consumer.task_consumer is None or not self._waiting:
            return
        self._is_paused = True
        self._consumer.task_consumer.cancel()
        while self._waiting:
            self._waiting.pop().message.requeue()

    def _let_suspects_go(self) -> None:
        """Let other workers have them: the one that runs here may take hours."""
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
            # The queue was deleted while nobody listened. Celery ends a worker for that; connecting anew declares it.
            raise ConnectionResetError(f"a queue cannot be listened to any more: {error}") from error

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
        """The queue it came from: by its consumer tag, or, where kombu's transports tell none, by its way."""
        info = message.delivery_info or {}
        tag, exchange, key = info.get("consumer_tag"), info.get("exchange"), str(info.get("routing_key") or "")
        consumer = self._consumer.task_consumer
        for queue, own in () if consumer is None else consumer._active_tags.items():  # noqa: SLF001
            if own == tag:
                return str(queue)
        if not exchange:
            return key
        listened_to = self._installation.app.amqp.queues.consume_from.values()
        return next((str(q.name) for q in listened_to if q.exchange.name == exchange and routes(q, key)), key)

    def _to_adopt(self, message: Any, queue: str) -> Any:
        """The envelope of a task that was sent past the ledger, if it is to be adopted."""
        if self._installation.settings.foreign_tasks != "adopt":
            return None
        known = self._installation.app.amqp.queues
        if queue in known and known[queue].exchange is not None and known[queue].exchange.type == "fanout":
            return None  # everyone gets it, under one id
        return adopted(message, queue)

    def _wake(self) -> None:
        # The pool's own part of the tick, which writes to its processes, may have come before ours.
        if self._wakeup is not None:
            self._wakeup.wake()
