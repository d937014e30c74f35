"""Capture every message that Celery would publish, and write it into the ledger instead.

All of Celery's ways to send a task (delay, apply_async, send_task, chain, group, chord, links, replace, retry, beat)
meet in ``AMQP.send_task_message``. We call Celery's own sender there, and give it our producer. Routing, serialisation,
headers and both publish signals stay Celery's. Only the last step, the publish to a broker, is replaced.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from kombu import Connection, Producer
from kombu.exceptions import EncodeError
from kombu.serialization import dumps
from kombu.utils.json import dumps as as_json
from kombu.utils.time import maybe_s_to_ms

from mirepoix.broker.routes import routes
from mirepoix.celery import context
from mirepoix.celery.purge import purging
from mirepoix.connect import ambient
from mirepoix.connect.caller import CallerTx
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import EnqueueError, InvalidOption, PayloadNotSerializable
from mirepoix.ledger import enqueue, outgoing
from mirepoix.ledger.tx import Tx
from mirepoix.protocol import options, payload
from mirepoix.protocol.canonical import WRITER
from mirepoix.protocol.envelope import as_text, from_headers
from mirepoix.records import LEASE_HEADER, VERSION_HEADER, WEIGHT_HEADER, AtLimitPolicy, Envelope, Event, Outgoing

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.enqueue")

_IDS = ("id", "root_id", "parent_id", "group")
"""Headers that may be given as a UUID."""

MOST_TRIES = 5
"""How often a transaction of ours is tried after a deadlock, or a conflict with another sender of the same key."""

T = TypeVar("T")

_sink: ContextVar[list[Outgoing] | None] = ContextVar("mirepoix_sink", default=None)


class UnserializablePayload(PayloadNotSerializable, EncodeError):  # type: ignore[misc]
    """The arguments cannot be serialised. It is also kombu's EncodeError, for code that catches that."""


def capturing(amqp_class: type) -> type:
    """A subclass of *amqp_class* (Celery's, or the app's own) that replaces the last step of its task sender."""

    class LedgerAMQP(amqp_class):  # type: ignore[misc]
        def _create_task_sender(self) -> Callable[..., Any]:
            from mirepoix.celery.installation import installation_of

            send = super()._create_task_sender()
            installation = installation_of(self.app)
            producer = CaptureProducer(installation)

            def send_task_message(given: Any, name: str, message: Any, **options: Any) -> Any:
                if not installation.captures:
                    return send(given, name, message, **options)
                # No connection is opened, so there is nothing to retry.
                return send(producer.with_events_of(given), name, message, **{**options, "retry": False})

            return send_task_message

        def Connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 (Celery's name for its class)
            from mirepoix.celery.installation import installation_of

            return purging(super().Connection(*args, **kwargs), installation_of(self.app))

        @property
        def create_task_message(self) -> Any:
            # Protocol 1 has the task's name and id in the body, so that no row can be made from it.
            return noting_durations(self.task_protocols[2])

    return LedgerAMQP


@dataclass(frozen=True, slots=True)
class Durations:
    """The durations that a caller gave (``countdown``, ``expires``), and the moments that Celery computed from them."""

    task_id: str | None = None
    eta: str | None = None
    eta_in_s: float | None = None
    expires: str | None = None
    expires_in_s: float | None = None
    asked_at: float = 0.0
    """The time of the call, by the monotonic clock."""


_asked: ContextVar[Durations] = ContextVar("mirepoix_durations", default=Durations())  # noqa: B039 (it is frozen)


def noting_durations(make: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap *make*, Celery's function that makes a message, so that durations are noted.

    Celery turns them into moments of this host's clock.
    """

    def create_task_message(
        task_id: Any,
        name: Any,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        group_id: Any = None,
        group_index: Any = None,
        expires: Any = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        asked_at = time.monotonic()
        message = make(task_id, name, args, kwargs, countdown, eta, group_id, group_index, expires, *more, **options)
        made = message.headers
        _asked.set(
            Durations(
                str(made["id"]),
                made.get("eta"),
                float(countdown) if countdown else None,
                made.get("expires"),
                float(expires) if isinstance(expires, Real) else None,
                asked_at,
            )
        )
        return message

    return create_task_message


def _durations(headers: dict[str, Any], expiration: float | None) -> Durations:
    """The durations that were noted for this message. A duration is dropped if its moment has been changed since."""
    asked = _asked.get()
    if asked.task_id != str(headers["id"]):
        asked = Durations(asked_at=time.monotonic())
    eta_in_s = asked.eta_in_s if headers.get("eta") == asked.eta else None
    expires_in_s = asked.expires_in_s if headers.get("expires") == asked.expires else None
    attempt = context.current()
    if headers.get("expires") is None:
        expires_in_s = expiration
    elif attempt is not None and attempt.expires is not None and headers["expires"] == attempt.expires:
        # This is a retry. Its moment is the one that the task was delivered with, by the clock of this host.
        left = datetime.fromisoformat(attempt.expires) - datetime.now(UTC)
        expires_in_s = left.total_seconds() + time.monotonic() - asked.asked_at
    return replace(asked, eta_in_s=eta_in_s, expires_in_s=expires_in_s)


class CaptureProducer(Producer):  # type: ignore[misc]
    """A kombu producer that never opens its connection: it writes what it publishes as a row."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._events: Any = None
        self._replies = _Replies(installation)
        self._connection = Connection("memory://")
        super().__init__(None, auto_declare=False)

    def with_events_of(self, given: Any) -> CaptureProducer:
        """A copy that publishes events (task-sent) by the caller's producer *given*, if there is one."""
        if given is None or isinstance(given, CaptureProducer):
            return self
        other = object.__new__(CaptureProducer)  # copy() would call kombu and make a producer on a connection
        other.__dict__.update(self.__dict__, _events=given)
        return other

    @property
    def connection(self) -> Connection:
        """A connection that is never opened. Celery reads error classes from it."""
        return self._connection

    @property
    def channel(self) -> Any:
        """A channel for backends that declare a queue for replies when a task is sent (``rpc://``)."""
        return self._replies.channel()

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
        """Write one task into the ledger. Publish what is no task (an event) as Celery does."""
        headers = dict(headers or {})
        if "task" not in headers:
            self._publish_event(body, routing_key or "", headers, serializer, exchange, declare, **properties)
            return
        headers.pop(LEASE_HEADER, None)
        if properties.pop("unique", None):
            raise InvalidOption(headers["task"], "unique= needs the task itself, and it was sent by its name")
        options.check_name("task name", headers["task"])
        headers |= {key: str(headers[key]) for key in _IDS if isinstance(headers.get(key), UUID)}
        if isinstance(body, (list, tuple)) and len(body) == 3 and not context.is_continuing():  # noqa: PLR2004
            options.check_carried(headers["task"], body[2], self._installation.delivery)
        limit_key = self._limit_key(headers, body, properties)
        self._weigh(headers, body, limit_key)
        body = self._versioned(headers, body)
        shape = payload.shape_of(headers["task"], headers, body)
        try:
            body, content_type, content_encoding = self._prepare(
                body, serializer, content_type, content_encoding, compression, headers
            )
        except EncodeError as error:
            raise UnserializablePayload(headers["task"], f"{error}. Pass values that JSON can hold.") from error
        if not isinstance(body, (str, bytes)):
            what = f"content_type={content_type!r} says that its arguments are serialised, and they are not"
            raise InvalidOption(headers["task"], what)
        expires = _expiry(headers, expiration)
        durations = _durations(headers, expiration)
        if expiration is not None:
            properties["expiration"] = str(int(maybe_s_to_ms(expiration)))
        if delivery_mode is not None:
            properties["delivery_mode"] = delivery_mode
        named = getattr(exchange, "name", exchange) or ""
        found = self._queues_of(named, routing_key or "", declare)
        if len(found) > 1 and self._installation.delivery == "broker":
            self._publish_to_all(
                body,
                routing_key=routing_key,
                exchange=exchange,
                declare=declare,
                headers=headers,
                content_type=content_type,
                content_encoding=content_encoding,
                priority=priority,
                **properties,
            )
            return
        exchange = named
        queue = self._only(found, exchange, routing_key or "", headers["task"])
        text, body_encoding = as_text(body)
        envelope = from_headers(
            headers,
            body=text,
            queue=queue,
            priority=priority or 0,
            body_encoding=body_encoding,
            content_type=content_type or "application/data",
            content_encoding=content_encoding or "utf-8",
            properties={key: value for key, value in properties.items() if value is not None} | {"priority": priority},
            exchange=exchange,
            routing_key=routing_key or "",
            expires=expires,
            eta_in_s=durations.eta_in_s,
            expires_in_s=durations.expires_in_s,
            asked_at=durations.asked_at,
            # A worker takes a task with a limit from the ledger, also if there is a broker.
            sent_fence=self._installation.sent_fence if limit_key is None else None,
            shape=shape,
            written_by=WRITER,
            limit_key=limit_key,
            at_limit=None if limit_key is None else self._at_limit(headers["task"]),
            follows=context.is_continuing(),
        )
        limit_bytes = self._installation.settings.payload_limit_bytes
        options.check(envelope, limit_bytes, self._installation.delivery, is_continuing=context.is_continuing())
        send(self._installation, [envelope])

    def _limit_key(self, headers: dict[str, Any], body: Any, properties: dict[str, Any]) -> str | None:
        """The key of the task's limit."""
        if properties.pop("limit", None) is not None:
            raise InvalidOption(headers["task"], "a limit belongs to its task: @app.task(limit=...)")
        app = self._installation.app
        if not app.tasks.limits and not self._installation.settings.global_rate_limits:
            return None
        from mirepoix.celery import limits  # only programs with limits need it

        return limits.key_for(app, headers["task"], body)

    def _weigh(self, headers: dict[str, Any], body: Any, limit_key: str | None) -> None:
        """Write the weight of the call into its headers, if its limit has weights."""
        headers.pop(WEIGHT_HEADER, None)
        if limit_key is not None:
            from mirepoix.celery import limits  # only programs with limits need it

            weight = limits.weight_for(self._installation.app, headers["task"], body)
            if weight is not None:
                headers[WEIGHT_HEADER] = weight

    def _at_limit(self, name: str) -> AtLimitPolicy | None:
        """What the call does if its limit has no room; None if it waits."""
        from mirepoix.celery import limits  # only programs with limits need it

        return limits.at_limit_policy(self._installation, name)

    def _versioned(self, headers: dict[str, Any], body: Any) -> Any:
        """Mark the message, and what it carries for later, with the task versions of this code."""
        versions = self._installation.app.tasks.versions
        if not versions:
            return body
        if headers["task"] in versions:
            headers.setdefault(VERSION_HEADER, versions[headers["task"]])
        if isinstance(body, (list, tuple)) and len(body) == 3:  # noqa: PLR2004 (arguments, keywords, what is carried)
            kwargs = payload.marked_call(headers["task"], body[1], versions)
            return (body[0], kwargs, payload.marked(body[2], versions))
        return body

    def _publish_event(
        self,
        body: Any,
        routing_key: str,
        headers: dict[str, Any],
        serializer: Any,
        exchange: Any,
        declare: Any,
        **properties: Any,
    ) -> None:
        options = {"routing_key": routing_key, "headers": headers, "serializer": serializer, "exchange": exchange,
                   "declare": declare, **properties}  # fmt: skip
        given = getattr(self._events, "connection", None)
        if self._installation.delivery == "ledger" and getattr(given, "transport_cls", "mirepoix") == "mirepoix":
            send(self._installation, [_event(body, **options)])
        elif self._events is not None:
            self._events.publish(body, **options)
        else:
            self._installation.sender.event(body, **options)

    def _publish_to_all(self, body: Any, **options: Any) -> None:
        """Publish to the broker a message that reaches several queues. It becomes no task of the ledger."""
        with self._installation.app.amqp.producer_pool.acquire(block=True) as producer:
            producer.publish(body, retry=True, **options)

    def _queues_of(self, exchange: str, routing_key: str, declare: Any) -> list[str]:
        """The queues of the app that a broker would route the message to."""
        queues = self._installation.app.amqp.queues
        if not exchange:
            return [routing_key]
        fanout = [q for q in queues.values() if q.exchange is not None and q.exchange.name == exchange]
        if any(queue.exchange.type == "fanout" for queue in fanout):
            return [queue.name for queue in fanout] * 2
        matching = [
            queue.name
            for queue in queues.values()
            if queue.exchange is not None and queue.exchange.name == exchange and routes(queue, routing_key)
        ]
        # Celery declares the default queue even if the caller's exchange is not bound to it.
        declared = [
            entity.name
            for entity in declare or ()
            if hasattr(entity, "routing_key") and getattr(entity.exchange, "name", None) == exchange
        ]
        return [str(name) for name in [name for name in matching if name in declared] or matching or declared]

    def _only(self, found: list[str], exchange: str, routing_key: str, task_name: str) -> str:
        """The only queue in *found*. Raises EnqueueError if there is none, or more than one."""
        if len(found) == 1:
            return found[0]
        if not found:
            raise EnqueueError(
                f"{task_name} was sent to exchange {exchange!r} with routing key {routing_key!r}, which reaches no "
                "queue of task_queues. Name the queue, or bind one to that key."
            )
        raise EnqueueError(
            f"{task_name} was sent to exchange {exchange!r} with routing key {routing_key!r}, which reaches several "
            f"queues ({', '.join(map(str, found))}). A task of the ledger is one row in one queue: name the queue."
        )


class _Replies(threading.local):
    """A connection for each thread that sends. A backend's request opens it. Nothing is published on it."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._connections: list[tuple[int, Any]] = []

    def channel(self) -> Any:
        """An open channel of this process and thread."""
        if not self._connections or self._connections[-1][0] != os.getpid():
            # A connection from before a fork is kept, but not used: closing it would close it for the parent.
            self._connections.append((os.getpid(), self._installation.app.connection_for_write()))
        return self._connections[-1][1].default_channel


class PublishScope:
    """The scope that Celery opens around its sends. It writes the members of a group together, in few statements.

    A single call is written before Celery's ``after_task_publish`` fires. The members of a group are written after the
    group has been sent: all or none.
    """

    _depth: ContextVar[int] = ContextVar("mirepoix_publish_depth", default=0)
    _together: ContextVar[list[Outgoing] | None] = ContextVar("mirepoix_publish_together", default=None)

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._producer = CaptureProducer(installation)

    @contextmanager
    def __call__(self, producer: Any = None) -> Iterator[Any]:
        """Replace ``app.producer_or_acquire``: take no broker connection for what the ledger captures."""
        if not self._installation.captures:
            app = self._installation.app
            with type(app).producer_or_acquire(app, producer) as real:
                yield real
            return
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
        """Hold *items* back until the enclosing scope ends; return False outside of a scope."""
        # A task opens its own scope around its sending. A chord begins in the scope of its members.
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
    """Write *items*, or leave them to the attempt or the group that they belong to."""
    sink = _sink.get()
    if sink is not None:
        sink.extend(items)
        return
    attempt = context.current()
    if attempt is not None:
        items = [item for item in items if not attempt.hold_back(item)]
    if items and not PublishScope.collects(items):
        write(installation, items)


@contextmanager
def captured() -> Iterator[list[Outgoing]]:
    """Collect what is sent inside the block, and write nothing."""
    gathered: list[Outgoing] = []
    token = _sink.set(gathered)
    try:
        yield gathered
    finally:
        _sink.reset(token)


def write(installation: Installation, envelopes: list[Outgoing]) -> None:
    """Write *envelopes* in the caller's transaction, or in a new one if the caller has none."""
    if _write_alone(installation, envelopes):
        return

    def act() -> None:
        with writing(installation) as add:
            add(envelopes)

    if any(isinstance(item, Envelope) and item.at_limit is not None for item in envelopes):
        tried_again(installation, act)
    else:
        act()


def _write_alone(installation: Installation, items: list[Outgoing]) -> bool:
    """Write a single task outside of every transaction, with one statement that commits itself.

    Write nothing and return False if *items* are something else, or if the ledger already has a task of that id, or if
    it has to be decided whether its limit has room.
    """
    if len(items) != 1 or not isinstance(items[0], Envelope) or items[0].at_limit is not None:
        return False
    if is_in_transaction(installation):
        return False
    envelopes = [item for item in installation.promised(items) if isinstance(item, Envelope)]
    reached(Crashpoint.ENQUEUE_ONE_BEFORE_COMMIT)
    with installation.source.statement() as tx:
        is_new = enqueue.adopt(CallerTx(tx, lambda: installation.source.label), envelopes)
    reached(Crashpoint.ENQUEUE_ONE_AFTER_COMMIT)
    if is_new:
        installation.announce(envelopes)
    return bool(is_new)


def is_in_transaction(installation: Installation) -> bool:
    """Whether what is sent here is part of the caller's transaction."""
    return ambient.current() is not None or installation.source.enclosing_transaction() is not None


def tried_again(installation: Installation, act: Callable[[], T]) -> T:
    """Return what *act* returns. It makes a transaction of its own, and is tried again after an error that passes.

    Such an error is a deadlock, or a conflict with another sender of the same key. In the caller's transaction *act*
    is tried once, as the caller's statements would have to be repeated too.
    """
    disconnects = installation.source.disconnects
    for tried in range(1, MOST_TRIES + 1):
        try:
            return act()
        except disconnects as error:
            is_last = tried == MOST_TRIES or is_in_transaction(installation)
            if is_last or verdict(error, disconnects) is not Verdict.PASSES:
                raise
            time.sleep(0.02 * tried)
    raise AssertionError


@contextmanager
def writing(installation: Installation) -> Iterator[Callable[[Sequence[Outgoing]], object]]:
    """A function that adds envelopes to the caller's transaction, or to a new one that the block commits."""
    with in_transaction(installation) as (_, add):
        yield add


@contextmanager
def in_transaction(
    installation: Installation,
) -> Iterator[tuple[Tx | None, Callable[[Sequence[Outgoing]], object]]]:
    """The transaction that `writing` uses, and its function that adds envelopes.

    If the caller's transaction is asynchronous, the first value is None, and only the function can be used.
    """
    enclosing = ambient.current()
    if enclosing is not None:
        yield (
            enclosing.tx if isinstance(enclosing, ambient.Direct) else None,
            _announcing(installation, enclosing.add, enclosing.after_commit),
        )
        return
    tx = installation.source.enclosing_transaction()
    if tx is not None:
        yield tx, _announcing(installation, partial(outgoing.add, tx), installation.source.after_commit)
        return
    committed: list[Callable[[], None]] = []

    def after_commit(act: Callable[[], None]) -> bool:
        committed.append(act)
        return True

    with installation.source.transaction() as opened:
        own = CallerTx(opened, lambda: installation.source.label)
        yield own, _announcing(installation, partial(outgoing.add, own), after_commit)
        reached(Crashpoint.ENQUEUE_BEFORE_COMMIT)
    reached(Crashpoint.ENQUEUE_AFTER_COMMIT)
    for act in committed:
        act()


def _announcing(
    installation: Installation,
    add: Callable[[Sequence[Outgoing]], object],
    after_commit: Callable[[Callable[[], None]], bool],
) -> Callable[[Sequence[Outgoing]], object]:
    """Wrap *add*, so that this process publishes to the broker what was added, after the COMMIT.

    Where nothing reports the COMMIT, the relay publishes it.
    """
    if installation.delivery != "broker":
        return add

    def add_and_announce(items: Sequence[Outgoing]) -> object:
        promised = installation.promised(items)
        if after_commit(partial(installation.announce, promised)):
            items = promised
        return add(items)

    return add_and_announce


def _expiry(headers: dict[str, Any], expiration: float | None) -> str | None:
    """When the task expires: by its ``expires``, or *expiration* seconds from now, when a broker drops a message."""
    name = headers["task"]
    expires = options.moment_in_utc(name, "expires", headers.get("expires"))
    if expiration is None or expires is not None:
        return expires
    try:
        return (datetime.now(UTC) + timedelta(seconds=expiration)).isoformat()
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidOption(name, f"expiration={expiration!r} is no number of seconds ({error})") from error


def _event(
    body: Any, *, routing_key: str, headers: Any, serializer: Any, exchange: Any, declare: Any, **properties: Any
) -> Event:
    """An event, in the form that kombu's virtual transports give a message."""
    content_type, content_encoding, text = dumps(body, serializer)
    text, body_encoding = as_text(text)
    name = str(getattr(exchange, "name", exchange) or "")
    types = {getattr(entity, "name", None): getattr(entity, "type", None) for entity in declare or ()}
    message = {
        "body": text,
        "content-type": content_type,
        "content-encoding": content_encoding,
        "headers": headers,
        "properties": {
            **{key: value for key, value in properties.items() if isinstance(value, (str, int, float))},
            "body_encoding": None if body_encoding == "utf-8" else body_encoding,
            "delivery_info": {"exchange": name, "routing_key": routing_key},
        },
    }
    return Event(name, routing_key, as_json(message), is_fanout=types.get(name) == "fanout")
