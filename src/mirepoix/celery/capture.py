"""Capture every message that Celery would publish, and write it into the ledger instead.

All of Celery's ways to send a task (delay, apply_async, send_task, chain, group, chord, links, replace, retry, beat)
meet in ``AMQP.send_task_message``. Celery's own sender is called there with a producer of ours, so that routing,
serialisation, headers and both publish signals are Celery's; only the last step, the broker, is replaced.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from kombu import Connection, Producer
from kombu.exceptions import EncodeError
from kombu.transport.virtual.exchange import TopicExchange
from kombu.utils.time import maybe_s_to_ms

from mirepoix.celery import attempt as attempts
from mirepoix.connect import ambient
from mirepoix.connect.caller import CallerTx
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import EnqueueError, InvalidTaskId, PayloadNotSerializable, PayloadTooLarge
from mirepoix.ledger import outgoing
from mirepoix.records import LEASE_HEADER, Envelope, Outgoing

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

logger = logging.getLogger("mirepoix.enqueue")

_REFUSED_CONTENT = ("application/x-python-serialize",)
_ID_LIMIT = 255


_sink: ContextVar[list[Outgoing] | None] = ContextVar("mirepoix_sink", default=None)


class UnserializablePayload(PayloadNotSerializable, EncodeError):  # type: ignore[misc]
    """The arguments cannot be serialised: ours, and kombu's own error for those who catch that."""


def capturing(amqp_class: type) -> type:
    """*amqp_class* (Celery's, or the app's own) with its task sender's last step replaced."""

    class LedgerAMQP(amqp_class):  # type: ignore[misc]
        def _create_task_sender(self) -> Callable[..., Any]:
            from mirepoix.celery.app import installation_of

            send = super()._create_task_sender()
            producer = CaptureProducer(installation_of(self.app))

            def send_task_message(given: Any, name: str, message: Any, **options: Any) -> Any:
                # Nothing is dialled, so there is nothing to retry.
                return send(producer.with_events_of(given), name, message, **{**options, "retry": False})

            return send_task_message

        @property
        def create_task_message(self) -> Any:
            # Protocol 1 has the task's name and id in the body, where no row could be made of them.
            return self.task_protocols[2]

    return LedgerAMQP


class CaptureProducer(Producer):  # type: ignore[misc]
    """A kombu producer that never opens its connection: it turns what it is to publish into a row."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._events: Any = None
        self._connection = Connection("memory://")
        super().__init__(None, auto_declare=False)

    def with_events_of(self, given: Any) -> CaptureProducer:
        """The same, with what is no task (task-sent) published by the caller's own producer, if there is one."""
        if given is None or isinstance(given, CaptureProducer):
            return self
        other = object.__new__(CaptureProducer)  # copy() would ask kombu, and get a producer on a connection
        other.__dict__.update(self.__dict__, _events=given)
        return other

    @property
    def connection(self) -> Connection:
        """A connection that nobody opens; Celery reads error classes from it."""
        return self._connection

    def publish(
        self,
        body: Any,
        routing_key: str | None = None,
        delivery_mode: Any = None,
        mandatory: bool = False,
        immediate: bool = False,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        serializer: str | None = None,
        headers: dict[str, Any] | None = None,
        compression: str | None = None,
        exchange: Any = None,
        retry: bool = False,
        retry_policy: Any = None,
        declare: Any = None,
        expiration: float | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **properties: Any,
    ) -> None:
        """Write one task into the ledger; anything that is no task (an event) goes Celery's way."""
        headers = dict(headers or {})
        if "task" not in headers:
            self._publish_event(body, routing_key, headers, serializer, exchange, **properties)
            return
        headers.pop(LEASE_HEADER, None)
        try:
            body, content_type, content_encoding = self._prepare(
                body, serializer, content_type, content_encoding, compression, headers
            )
        except EncodeError as error:
            raise UnserializablePayload(headers["task"], f"{error}. Pass values that JSON can hold.") from error
        if expiration is not None:
            properties["expiration"] = str(int(maybe_s_to_ms(expiration)))
        if delivery_mode is not None:
            properties["delivery_mode"] = delivery_mode
        exchange = getattr(exchange, "name", exchange) or ""
        queue = self._queue_of(exchange, routing_key or "", declare, headers["task"])
        text, body_encoding = _as_text(body)
        envelope = Envelope(
            id=headers["id"],
            name=headers["task"],
            queue=queue,
            priority=priority or 0,
            body=text,
            body_encoding=body_encoding,
            content_type=content_type or "application/data",
            content_encoding=content_encoding or "utf-8",
            headers=headers,
            properties={key: value for key, value in properties.items() if value is not None} | {"priority": priority},
            exchange=exchange,
            routing_key=routing_key or "",
            eta=self._moment(headers.get("eta")),
            expires=self._moment(headers.get("expires")),
            retries=headers.get("retries") or 0,
            root_id=headers.get("root_id"),
            parent_id=headers.get("parent_id"),
            group_id=headers.get("group"),
        )
        check(envelope, self._installation.settings.payload_limit_bytes)
        send(self._installation, [envelope])

    def _publish_event(
        self, body: Any, routing_key: Any, headers: dict[str, Any], serializer: Any, exchange: Any, **properties: Any
    ) -> None:
        own = self._installation.app.amqp.producer_pool
        with nullcontext(self._events) if self._events is not None else own.acquire(block=True) as producer:
            producer.publish(
                body, routing_key=routing_key, headers=headers, serializer=serializer, exchange=exchange, **properties
            )

    def _queue_of(self, exchange: str, routing_key: str, declare: Any, task_name: str) -> str:
        """The queue that a broker would have routed the message to."""
        queues = self._installation.app.amqp.queues
        if not exchange:
            return routing_key
        matching = [
            queue.name
            for queue in queues.values()
            if queue.exchange is not None and queue.exchange.name == exchange and _routes(queue, routing_key)
        ]
        # Celery declares the default queue even where the caller named an exchange that does not lead to it.
        declared = [
            entity.name
            for entity in declare or ()
            if hasattr(entity, "routing_key") and getattr(entity.exchange, "name", None) == exchange
        ]
        found = [name for name in matching if name in declared] or matching or declared
        if len(found) == 1:
            return str(found[0])
        if not found:
            raise EnqueueError(
                f"{task_name} was sent to exchange {exchange!r} with routing key {routing_key!r}, which reaches no "
                "queue of task_queues. Name the queue, or bind one to that key."
            )
        raise EnqueueError(
            f"{task_name} was sent to exchange {exchange!r} with routing key {routing_key!r}, which reaches several "
            f"queues ({', '.join(map(str, found))}). A task of the ledger is one row in one queue: name the queue."
        )

    def _moment(self, text: str | None) -> str | None:
        """An ISO moment with an offset; a naive one is in the app's time zone, as Celery's worker reads it."""
        if text is None:
            return None
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._installation.app.timezone)
        return moment.isoformat()


class PublishScope:
    """What Celery opens around its sends: a group's members are written together, in few statements.

    A single call is written before Celery's ``after_task_publish`` fires; the members of a group when the group has
    been sent, all or none.
    """

    _depth: ContextVar[int] = ContextVar("mirepoix_publish_depth", default=0)
    _together: ContextVar[list[Outgoing] | None] = ContextVar("mirepoix_publish_together", default=None)

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._producer = CaptureProducer(installation)

    @contextmanager
    def __call__(self, producer: Any = None) -> Iterator[Any]:
        """Stands in for ``app.producer_or_acquire``: never takes a broker connection."""
        depth = self._depth.get()
        token = self._depth.set(depth + 1)
        try:
            yield producer or self._producer
        finally:
            self._depth.reset(token)
            if depth == 0:
                together = self._together.get()
                self._together.set(None)
        if depth == 0 and together:
            write(self._installation, together)

    @classmethod
    def collects(cls, items: list[Outgoing]) -> bool:
        """Keep *items* for the end of the enclosing scope; False outside of one."""
        # A task opens a scope of its own around its sending; a chord is begun in that of its members.
        own = 1 if isinstance(items[0], Envelope) else 0
        if cls._depth.get() <= own:
            return False
        together = cls._together.get()
        if together is None:
            together = []
            cls._together.set(together)
        together.extend(items)
        return True


def send(installation: Installation, items: list[Outgoing]) -> None:
    """Write *items*, or leave them with the attempt or the group they belong to."""
    sink = _sink.get()
    if sink is not None:
        sink.extend(items)
        return
    attempt = attempts.current()
    if attempt is not None:
        items = [item for item in items if not attempt.keeps(item)]
    if items and not PublishScope.collects(items):
        write(installation, items)


@contextmanager
def captured() -> Iterator[list[Outgoing]]:
    """Gather what is sent inside the block instead of writing it."""
    gathered: list[Outgoing] = []
    token = _sink.set(gathered)
    try:
        yield gathered
    finally:
        _sink.reset(token)


def write(installation: Installation, envelopes: list[Outgoing]) -> None:
    """Write *envelopes* in the caller's transaction; in one of our own if there is none."""
    with writing(installation) as add:
        add(envelopes)


@contextmanager
def writing(installation: Installation) -> Iterator[Callable[[Sequence[Outgoing]], object]]:
    """What adds envelopes to the caller's transaction; to one of our own, committed at the end, if there is none."""
    joined = ambient.current()
    if joined is not None:
        yield joined.add
        return
    tx = installation.source.joined()
    if tx is not None:
        yield partial(outgoing.add, tx)
        return
    with installation.source.transaction() as own:
        yield partial(outgoing.add, CallerTx(own, lambda: installation.source.label))
        reached(Crashpoint.ENQUEUE_BEFORE_COMMIT)
    reached(Crashpoint.ENQUEUE_AFTER_COMMIT)


def check(envelope: Envelope, limit_bytes: int) -> None:
    """Refuse, before anything is written, what the ledger could not hold or no worker should read."""
    if envelope.content_type in _REFUSED_CONTENT:
        raise PayloadNotSerializable(
            envelope.name, "its serializer is pickle, which the ledger does not keep. Set task_serializer='json'."
        )
    if len(envelope.body) > limit_bytes:
        raise PayloadTooLarge(envelope.name, len(envelope.body), limit_bytes)
    for what, value in (("task id", envelope.id), ("task name", envelope.name), ("queue name", envelope.queue)):
        if not isinstance(value, str) or not value:
            raise InvalidTaskId(what, str(value), "it must be a text that is not empty")
        if len(value) > _ID_LIMIT:
            raise InvalidTaskId(what, value, f"it is longer than {_ID_LIMIT} characters")
        if not value.isprintable():
            raise InvalidTaskId(what, value, "it holds characters that cannot be printed")


def _as_text(body: str | bytes) -> tuple[str, str]:
    if isinstance(body, str):
        return body, "utf-8"
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), "base64"


def _routes(queue: Any, routing_key: str) -> bool:
    if queue.exchange.type == "fanout":
        return True
    if queue.exchange.type == "topic":
        pattern = TopicExchange(None).key_to_pattern(queue.routing_key or "")
        return bool(TopicExchange(None)._match(pattern, routing_key))  # noqa: SLF001
    return bool(queue.routing_key == routing_key)
