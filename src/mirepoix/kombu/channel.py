"""A channel of the ledger's transport. It turns leases into messages; a small table carries what is no task."""

from __future__ import annotations

import logging
import time
from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from mirepoix.config import MOST_AHEAD
from mirepoix.delivery import private
from mirepoix.delivery.prefetch import Batch
from mirepoix.errors import EnqueueError, NoWorker
from mirepoix.kombu.qos import QoS
from mirepoix.ledger import enqueue, messages, operate
from mirepoix.protocol import options
from mirepoix.protocol.delivered import as_message, tag_of
from mirepoix.protocol.envelope import from_headers
from mirepoix.protocol.lease import without_lease
from mirepoix.records import Taken

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases

logger = logging.getLogger("mirepoix.delivery")

DELIVER_FOR_S = 0.05
"""How long one round may hand messages to a pool that runs them in this very thread."""


class Channel(virtual.Channel):  # type: ignore[misc]
    """A channel that delivers what its worker leased. Queues need no declaration: they are names in a column."""

    QoS = QoS
    supports_fanout = True
    do_restore = False
    body_encoding = None
    from_transport_options = ()

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.buffer: deque[Taken] = deque()
        self.batch = Batch(MOST_AHEAD)
        self.may_have_more = True
        self._holds_suspect = False
        """Whether a suspect was held at the last look, so that other suspects may wait for its end."""
        self._paused_version = 0
        """The version of what was paused at the last look."""

    # ---- publishing: what does not come through Celery's task sender

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        headers = message.get("headers") or {}
        if "task" in headers and "id" in headers:
            self._put_task(queue, message, headers)
            return
        if queue in self._task_queues():
            raise EnqueueError(
                f"What was published to the task queue {queue!r} is no task of Celery's protocol 2: it has no headers "
                "'task' and 'id'. No worker would ever take it."
            )
        with self.connection.transaction() as tx:
            messages.put(tx, dumps(message), queue=queue)

    def _put_task(self, queue: str, message: dict[str, Any], headers: dict[str, Any]) -> None:
        """Write a task that another program published through kombu as a row."""
        properties = message["properties"]
        options.check_name("task name", headers["task"])
        encoding = properties.get("body_encoding") or "utf-8"
        envelope = from_headers(
            without_lease(headers),
            body=message["body"],
            queue=queue,
            body_encoding=encoding,
            properties={
                k: v for k, v in properties.items() if k not in ("delivery_tag", "delivery_info", "body_encoding")
            },
            content_type=message.get("content-type") or "application/data",
            content_encoding=message.get("content-encoding") or "utf-8",
            priority=properties.get("priority") or 0,
        )
        options.check(envelope, self.connection.installation.settings.payload_limit_bytes, "ledger")
        with self.connection.callers_transaction() as tx:
            enqueue.add(tx, [envelope])

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **_: Any) -> None:
        with self.connection.transaction() as tx:
            messages.put(tx, dumps(message), exchange=exchange)

    def prepare_message(self, body: Any, *args: Any, **kwargs: Any) -> Any:
        """Prepare a message as kombu does, but leave text bodies as they are, and encode others in base64."""
        message = super().prepare_message(body, *args, **kwargs)
        message["properties"]["body_encoding"] = None
        if isinstance(message["body"], bytes):
            try:
                message["body"] = message["body"].decode("utf-8")
            except UnicodeDecodeError:
                message["body"], message["properties"]["body_encoding"] = self.encode_body(message["body"], "base64")
        return message

    # ---- queues

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self.connection.fanout_of[queue] = exchange
            with self.connection.transaction() as tx:
                self.connection.positions.setdefault(queue, messages.position(tx, exchange))
            return
        if self._is_transient(exchange):
            with self.connection.transaction() as tx:
                messages.bind(tx, exchange, routing_key or "", pattern or "", queue)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """The bindings of an exchange. Task queues have none, since the ledger routes by the queue's name."""
        with self.connection.transaction() as tx:
            return messages.bindings(tx, exchange)

    def _is_transient(self, exchange: str) -> bool:
        return exchange not in {queue.exchange.name for queue in self._task_queues().values() if queue.exchange}

    def _task_queues(self) -> Any:
        return self.connection.installation.app.amqp.queues

    def _size(self, queue: str) -> int:
        # kombu calls this whenever a queue is declared, perhaps while the caller's own transaction holds the lock.
        with self.connection.reading() as tx:
            ready = tx.fetch("count_waiting", queue=queue)[0].tasks
            return int(ready) + int(tx.fetch("count_messages", queue=queue)[0].messages)

    def _purge(self, queue: str) -> int:
        with self.connection.callers_transaction() as tx:
            dropped = tx.run("drop_messages", queue=queue)
            purged = operate.purge(tx, queue)
            self.connection.installation.return_ended(tx, purged, "purged")
            return int(len(purged) + dropped)

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Cancel all tasks that wait in the queue, and return how many."""
        return self._purge(queue)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        with self.connection.transaction() as tx:
            messages.unbind(tx, queue)

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return True

    # ---- consuming

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        if queue in self._task_queues():
            raise NoWorker(queue)
        with self.connection.transaction() as tx:
            waiting = messages.take(tx, queue)
        if not waiting:
            raise Empty
        for message in waiting[1:]:
            with self.connection.transaction() as tx:
                messages.put(tx, message, queue=queue)
        return self._as_received(waiting[0])

    def receive_messages(self) -> int:
        """Deliver remote control, replies and events to this channel's consumers, and return how many."""
        delivered = 0
        for queue in list(self._active_queues):
            exchange = self.connection.fanout_of.get(queue)
            if exchange is not None:
                with self.connection.own.transaction() as tx:
                    arrived = messages.broadcasts(tx, exchange, self.connection.positions[queue])
                for position, message in arrived:
                    self.connection.positions[queue] = position
                    delivered += self._hand_over(self._as_received(message), queue)
            elif queue not in self._task_queues():
                with self.connection.own.transaction() as tx:
                    waiting = messages.take(tx, queue)
                for message in waiting:
                    delivered += self._hand_over(self._as_received(message), queue)
        return delivered

    def receive_tasks(self, leases: Leases) -> int:
        """Lease tasks for this channel's consumers, hand over as many as the prefetch allows, and return how many."""
        if self._holds_suspect and leases.held.may_take_suspect:  # no notification comes for its end
            self._holds_suspect, self.may_have_more = False, True
        if self._paused_version != leases.paused.version:  # no notification comes for what was resumed
            self._paused_version, self.may_have_more = leases.paused.version, True
        self.may_have_more = self.may_have_more or leases.limited.is_due
        if not self.buffer and not self.may_have_more and not leases.resumed:
            return 0
        queues = [queue for queue in self._active_queues if queue in self._task_queues()]
        if not queues:
            return 0
        while leases.resumed:
            self.buffer.append(leases.resumed.popleft())
        delivered = self._hand_over_buffer(queues)
        if self.may_have_more and not leases.is_stopping:
            wanted = self._wanted(leases)
            if wanted:
                had_suspect = not leases.held.may_take_suspect  # it may end while the others are taken
                taken = leases.record_and_take(self.connection.own, queues, wanted)
                is_behind = leases.limited.is_due or leases.is_holding
                has_suspect = any(task.is_suspect for task in taken)  # other suspects may stand before other tasks
                self.may_have_more = len(taken) >= wanted or is_behind or has_suspect
                self._holds_suspect = had_suspect or has_suspect
                self.buffer.extend(taken)
                delivered += self._hand_over_buffer(queues)
        return delivered

    def has_work(self) -> bool:
        """Whether another round would deliver something at once, or look behind tasks that are held."""
        leases = self.connection.leases
        is_holding = leases is not None and leases.is_holding and self.may_have_more
        return (bool(self.buffer) or is_holding) and self.qos.can_consume()

    def close(self) -> None:
        """Close the channel, and mark the leases that were never handed over to go back."""
        transport = self.connection
        if not self.closed and self.buffer and transport is not None:
            leases = transport.leases
            if leases is not None:
                leases.held.abandon([taken.lease for taken in self.buffer], now=True)
            self.buffer.clear()
        super().close()

    @property
    def limit(self) -> int:
        """How many messages the worker may have at once; 0: any number.

        Without an event loop a full pool would block the worker, and its remote control too. There the limit is what
        the pool can run. So it is with the direct pool, which fetches more while tasks are quick.
        """
        limit = int(self.qos.prefetch_count)
        installation = self.connection.installation
        leases = self.connection.leases
        if self.lane is not None:
            limit = self.lane.places
        elif not self.connection.has_loop and leases is not None:
            slots = int(leases.worker.concurrency)
            limit = min(limit or slots, slots)
        # A gathered call is not with the pool yet. It must not count, or the rest of its batch could not arrive.
        return limit and limit + (0 if installation.worker is None else len(installation.worker.gathered))

    @property
    def headroom(self) -> int:
        """How many messages beyond that limit are fetched to keep a pool of processes busy."""
        if self.lane is not None:  # its rows are given back if a slow task is before them
            return self.batch.lookahead
        return self.batch.headroom(self.qos.prefetch_count) if self.connection.has_loop else 0

    @property
    def lane(self) -> Any:
        """The short way of rows into the direct pool; None with any other pool."""
        worker = self.connection.installation.worker
        return None if worker is None else worker.lane

    def _wanted(self, leases: Leases) -> int:
        """How many tasks to take now."""
        limit, is_idle = self.limit, not len(leases.held)
        if self.lane is not None:  # its rows wait in the pool, and not here
            free, ahead = limit - self.qos.unfinished, self.qos.unfinished - limit
        else:
            free, ahead = (limit + self.headroom - self.qos.unfinished if limit else MOST_AHEAD), 0
        return self.batch.wanted(max(0, free), len(self.buffer) + max(0, ahead), leases.held.finished, is_idle=is_idle)

    def _hand_over_buffer(self, queues: list[str]) -> int:
        delivered = 0
        until = time.monotonic() + DELIVER_FOR_S
        leases = self.connection.leases
        lane = self.lane
        if lane is not None and self.buffer and not leases.is_stopping:
            rows = [*self.buffer]  # all of them: the pool gives back what has to wait
            self.buffer.clear()
            others = lane.take((row for row in rows if row.queue in queues), self._hand_over_back)
            leases.held.abandon([row.lease for row in rows if row.queue not in queues], now=True)
            for row in others:
                self._hand_over_task(row, leases)
            return len(rows)
        while self.buffer and self.qos.can_consume() and time.monotonic() < until and not leases.is_stopping:
            taken = self.buffer.popleft()
            if taken.queue in queues:
                delivered += self._hand_over_task(taken, leases)
            else:  # cancel_consumer arrived in between
                leases.held.abandon([taken.lease], now=True)
        return delivered

    def _hand_over_back(self, taken: Taken) -> None:
        """Hand a row over to Celery's consumer that the direct pool did not run."""
        self._hand_over_task(taken, self.connection.leases)

    def _hand_over_task(self, taken: Taken, leases: Leases) -> int:
        installation = self.connection.installation
        leases.held.note_given_to_worker(taken.lease.key)
        try:
            return self._hand_over(as_message(taken, installation.app, installation.catalog.current_name), taken.queue)
        except (*self.connection.connection_errors, *installation.source.disconnects):
            raise
        except Exception as error:  # noqa: BLE001 (the row may hold anything)
            installation.worker.pool_refused(taken.lease, taken.name, error)
            tag = tag_of(taken)
            if private.is_delivered(self.qos, tag):
                self.qos.ack(tag)
            return 1

    def _hand_over(self, message: dict[str, Any], queue: str) -> int:
        private.deliver(self.connection, message, queue)
        return 1

    def _as_received(self, message: str) -> dict[str, Any]:
        received: dict[str, Any] = loads(message)
        received["properties"]["delivery_tag"] = self._next_delivery_tag()
        return received
