"""Celery's consumer. It parks what Celery would drop, and gives leases back when it closes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.concurrency.solo import TaskPool as SoloPool
from celery.exceptions import InvalidTaskError, NotRegistered
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from mirepoix.broker.consumer import BrokerConsumer
from mirepoix.broker.message import LeasedMessage, is_of_ledger
from mirepoix.celery import private
from mirepoix.celery.request import sent_to_pool
from mirepoix.celery.task import adopt
from mirepoix.celery.undeliverable import park_undeliverable
from mirepoix.celery.versions import keeping_running_jobs
from mirepoix.delivery.private import connect_at_pace
from mirepoix.protocol import payload
from mirepoix.protocol.lease import lease_in
from mirepoix.records import AttemptFailure, IncompatibilityKind
from mirepoix.signatures.call_codec import Call, to_text

logger = get_logger("mirepoix.worker")

LEDGER_RETRY_S = 1.0
"""How many seconds pass between two tries to reach a ledger that is away."""


class LedgerConsumer(Consumer):  # type: ignore[misc]
    """A consumer that drops nothing: it parks an unknown task, an unreadable message or a broken header."""

    def update_strategies(self) -> None:
        """Adopt the tasks that have a base class of their author's, then build the strategies."""
        for task in self.app.tasks.values():
            adopt(task)
        super().update_strategies()
        if hasattr(self.pool, "lane"):
            self.pool.lane.open(self)
            private.before_cancelling(self, self.pool.lane.show_begun)

    def bucket_for_task(self, type: Any) -> Any:
        """Celery's own rate limit of a task in this worker, unless the ledger limits it over all workers."""
        return None if self.app.mirepoix.settings.global_rate_limits else super().bucket_for_task(type)

    def add_task_queue(self, *args: Any, **kwargs: Any) -> Any:
        """Consume from another queue, and note that in the ledger."""
        added = super().add_task_queue(*args, **kwargs)
        self._note_queues()
        return added

    def cancel_task_queue(self, *args: Any, **kwargs: Any) -> Any:
        """Stop consuming from a queue, and note that in the ledger."""
        cancelled = super().cancel_task_queue(*args, **kwargs)
        self._note_queues()
        return cancelled

    def _note_queues(self) -> None:
        worker = self.app.mirepoix.worker
        if worker is not None:
            worker.leases.incarnation.take_from(self.app.amqp.queues.consume_from)

    broker_consumer: BrokerConsumer | None = None
    """Takes leases for the broker's messages; None before the worker has connected to a broker."""

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        reason = f"no task named {exc} is registered in this worker"
        self._park(message, reason, NotRegistered(*exc.args), IncompatibilityKind.TASK) or super().on_unknown_task(
            body, message, exc
        )

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._park(message, "not a message of Celery's protocol") or super().on_unknown_message(body, message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Park a message with a broken header or a content type that is not accepted."""
        self._park(message, f"not a valid task message: {exc}") or super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Park a message with an unreadable body. The body of a notification is never read."""
        if self.broker_consumer is not None and not isinstance(message, LeasedMessage) and is_of_ledger(message):
            self.broker_consumer.receive(message)
            return
        self._park(message, f"the body cannot be decoded: {exc}") or super().on_decode_error(message, exc)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's handler, guarded: four kinds of malformed message would end the whole worker."""
        handle = self._guarded(super().create_task_handler(*args, **kwargs))
        if not self.app.mirepoix.settings.has_broker:
            return handle
        if self.broker_consumer is None:
            self.broker_consumer = self.app.mirepoix.worker.broker_consumer = BrokerConsumer(
                self, self.app.mirepoix, partial(_is_in_a_task, self.pool)
            )
        self.broker_consumer.start(handle)
        return self.broker_consumer.receive

    def _guarded(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def guarded(message: Any) -> Any:
            mark = lease_in(message.headers)
            if mark is not None and message.headers.get("id") != mark.lease.task_id:
                # It would run under the other id, and no outcome would be recorded for this one. Protocol 1 has the
                # id in the body.
                self._park(message, "its headers do not name its task id: not a message of Celery's protocol 2")
                return None
            try:
                return handle(message)
            except Exception as error:
                # Redis' transport takes a KeyError for a lost connection: one message would break every connection.
                if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                    raise
                if not self._park(message, f"the message cannot be handled: {type(error).__name__}: {error}"):
                    raise
                return None

        return guarded

    _connected_at = float("-inf")

    def connect(self) -> Any:
        """Connect as Celery does, but at most once in `LEDGER_RETRY_S`.

        A ledger may accept connections and refuse writes: it may be read-only, or its disk full. Celery would connect
        again every tenth of a second.
        """
        time.sleep(max(0.0, self._connected_at + LEDGER_RETRY_S - time.monotonic()))
        self._connected_at = time.monotonic()
        return super().connect()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect as Celery does, but at short intervals: Celery waits up to 30 s between two tries."""
        settings = self.app.mirepoix.settings
        pause_s = settings.broker_retry_s if settings.has_broker else LEDGER_RETRY_S
        connect_at_pace(conn, pause_s)
        return super().ensure_connected(conn)

    def on_close(self) -> None:
        """Give back what has not started. Celery calls this first when the worker stops or loses its connection."""
        if hasattr(self.pool, "lane"):
            self.pool.lane.close()
        _keep_what_was_sent(self.pool)
        _acknowledge_what_was_sent()
        worker = self.app.mirepoix.worker
        begun = frozenset() if worker is None else sent_to_pool(worker)
        with keeping_running_jobs(self.pool):
            super().on_close()
        if self.broker_consumer is not None:
            self.broker_consumer.stop()
        if worker is not None:
            error = sys.exception()
            if isinstance(error, Exception) and not isinstance(error, self.connection_errors + self.channel_errors):
                # This error ends the worker. A task on its way to the pool may cause it, and would end the next too.
                failure = AttemptFailure(f"its worker failed before it was started: {type(error).__name__}: {error}")
                worker.leases.lose_given_to_worker(failure, may_have_begun=begun)
            # Nothing reads the pool's reports until the worker is connected again. What was sent to it may have begun.
            worker.leases.held.abandon(may_have_begun=begun)

    def _park(
        self, message: Any, reason: str, error: Exception | None = None, lacking: IncompatibilityKind | None = None
    ) -> bool:
        mark = lease_in(message.headers)
        if mark is None:
            return self._park_unleased(message, reason)
        name = str(message.headers.get("task"))
        shape = to_text(Call(name, payload.version_in(message.headers)))
        error = error or InvalidTaskError(reason)
        park_undeliverable(self.app.mirepoix, mark.lease, name, reason, error, lacking, shape)
        message.ack_log_error(logger, self.connection_errors)
        return True

    def _park_unleased(self, message: Any, reason: str) -> bool:
        """Store a broker's message that belongs to no task of the ledger."""
        if self.broker_consumer is None or isinstance(message, LeasedMessage):
            return False
        self.broker_consumer.park_unreadable(message, reason)
        return True


def _acknowledge_what_was_sent() -> None:
    """Acknowledge tasks that are not in the ledger and were sent to a pool process, unless they have ``acks_late``.

    Celery does so when the pool reports that the task has begun, but nothing reads that report any more. The broker
    would give the task to another worker while it runs here.
    """
    for request in private.reserved_requests():
        if getattr(request, "lease", True) is None and request.may_have_begun and not request.task.acks_late:
            request.acknowledge()


def _is_in_a_task(pool: Any) -> bool:
    """Whether the worker's own thread runs a task. Then it receives nothing, but it is not stalled."""
    return isinstance(pool, SoloPool) and private.has_active_requests()


def _keep_what_was_sent(pool: Any) -> None:
    """Let Celery's pool of processes wait for every task that it has sent to a process.

    It would forget the tasks that no process has accepted yet, although they run. Their processes would then wait 30 s
    for the parent to read the result, and nothing would note that they have begun.
    """
    jobs = private.jobs_of(private.processes_of(pool))
    for job in tuple(jobs.values()) if isinstance(jobs, dict) else ():
        if private.is_sent(job) and not private.is_accepted(job):
            private.accept(job)
