"""Publish tasks of the ledger to the broker, many at a time, and tell which of them it has confirmed."""

from __future__ import annotations

import base64
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from kombu import Producer
from kombu.exceptions import EncodeError, KombuError

from mirepoix.broker.redis_lists import RedisLists
from mirepoix.broker.versions import batch
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import BrokerAway
from mirepoix.ledger import sending
from mirepoix.ledger.tx import Tx
from mirepoix.records import PROBE_HEADER, SENT_HEADER, Envelope

logger = logging.getLogger("mirepoix.relay")

PUBLISHED_TOGETHER = 500
"""The most tasks that are published, and noted as sent, together."""

CONFIRM_S = 15.0
"""A broker that has not confirmed within this long is taken for absent."""

CONNECT_S = 4.0

PROBE_EXPIRES_S = 60.0

COUNTING = frozenset({"amqp", "redis", "memory", "filesystem", "sql", "pgmq"})
"""The drivers of brokers that tell exactly how many messages wait. SQS, Azure and Pub/Sub estimate, minutes late."""

LONGEST_HEADERS = 60_000
"""RabbitMQ's frames hold 128 KiB, and the headers of a message have to fit into one."""

NAME_KEPT = 255

_inherited: list[Any] = []
"""Connections that a child found after a fork: never used and never closed, as that would end the parent's."""


class Publisher:
    """One connection to the broker, used by one thread. It is opened when needed and given up at the first error.

    RabbitMQ confirms each message, and gives back what reaches no queue; on other brokers the answer to the publishing
    command is the confirmation. A confirmed message can still be lost there: what the ledger knows is that it was sent.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._pid = os.getpid()
        self._connection: Any = None
        self._producer: Any = None
        self._declared: set[str] = set()
        self._undeclarable: set[str] = set()
        self._confirms: _Confirms | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that worked when it was last used."""
        return self._connection is not None

    def open(self) -> None:
        """Connect, unless that is done. Raises BrokerAway."""
        if self._pid != os.getpid():
            _inherited.append((self._connection, self._producer, self._confirms))
            self._connection, self._pid = None, os.getpid()
        if self._connection is not None:
            return
        with self._reaching():
            self._connection = connection = self._app.connection_for_write(connect_timeout=CONNECT_S)
            # Each publish would wait for its own confirmation: here they are waited for together.
            connection.transport_options = {**(connection.transport_options or {}), "confirm_publish": False}
            connection.connect()
            channel = connection.default_channel
            is_amqp = connection.transport.driver_type == "amqp"
            self._confirms = _Confirms(channel) if is_amqp and hasattr(channel, "confirm_select") else None
            self._producer = Producer(channel, auto_declare=False)
            self._declared.clear()
            self._undeclarable.clear()

    def publish(self, envelopes: Sequence[Envelope]) -> list[str]:
        """Publish *envelopes*; return the ids that the broker has confirmed. What reaches no queue is not among them.

        Raises BrokerAway when the broker is lost: then any of them may have arrived.
        """
        self.open()
        reached(Crashpoint.PUBLISH_BEFORE_SEND)
        confirmed = self._publish(envelopes)
        reached(Crashpoint.PUBLISH_AFTER_CONFIRM)
        return confirmed

    def _publish(self, envelopes: Sequence[Envelope]) -> list[str]:
        with self._reaching():
            for queue in {envelope.queue for envelope in envelopes}:
                self._declare(queue)
            if self._confirms is None:
                with batch(self._producer):
                    return [envelope.id for envelope in envelopes if self._try_send(envelope)]
            for envelope in envelopes:
                if self._try_send(envelope, mandatory=True):
                    self._confirms.expect(envelope)
            confirmed = self._confirms.wait(self._connection)
            for queue in self._confirms.returned_queues():
                self._declared.discard(queue)  # somebody has deleted it: declared again the next time
            return confirmed

    def probe(self, queue: str, count: int) -> bool:
        """Send *count* messages that are no tasks through *queue*; whether all were confirmed. Raises BrokerAway."""
        marks = [
            Envelope(
                id=f"probe-{number}",
                name="mirepoix.probe",
                queue=queue,
                body="[[], {}, {}]",
                headers={PROBE_HEADER: time.time()},
                properties={"delivery_mode": 1},
                routing_key=queue,
            )
            for number in range(count)
        ]
        return len(self.publish(marks)) == count

    @property
    def can_count(self) -> bool:
        """Whether this broker tells exactly how many messages wait. Raises BrokerAway."""
        self.open()
        return self._connection.transport.driver_type in COUNTING

    def count(self, queue: str) -> int | None:
        """How many messages the broker has in *queue*, without those handed to workers; None if there is no such queue.

        An estimate unless it `can_count`. Raises BrokerAway.
        """
        self.open()
        with self._reaching():
            channel = self._connection.channel()  # the question for a queue that is not there closes its channel
            try:
                if (lists := RedisLists.of(channel)) is not None:
                    return lists.count(queue)
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
            except self._connection.channel_errors:
                return None if self._confirms is not None else 0
            finally:
                with suppress(Exception):
                    channel.close()

    def event(self, body: Any, **options: Any) -> None:
        """Publish one of Celery's events. Raises BrokerAway."""
        self.open()
        with self._reaching():
            if self._confirms is not None:
                self._confirms.count_one()
            self._producer.publish(body, **options)

    def forget_declared(self) -> None:
        """Declare every queue again when it is next published to: the broker may have lost them."""
        self._declared.clear()
        if self._connection is not None:
            with suppress(Exception):
                self._connection.declared_entities.clear()

    def close(self) -> None:
        """Give the connection up. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            with suppress(Exception):
                connection.close()

    # ---- details

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn whatever shows that the broker is away into BrokerAway, and give the connection up."""
        try:
            yield
        except BrokerAway:
            self.close()
            raise
        except Exception as error:
            connection, lost = self._connection, self._lost
            self.close()
            if not isinstance(error, lost):
                raise
            raise BrokerAway(self._where(connection), error) from error

    @property
    def _lost(self) -> tuple[type[BaseException], ...]:
        """What shows that the broker is away."""
        lost: tuple[type[BaseException], ...] = (OSError, EOFError, KombuError)
        if self._connection is not None:
            lost += tuple(self._connection.connection_errors) + tuple(self._connection.channel_errors)
        return lost

    def _where(self, connection: Any) -> str:
        return "the broker" if connection is None else str(connection.as_uri())

    def _declare(self, name: str) -> None:
        """Declare the queue as the app does, with its exchange and binding."""
        if name in self._declared or name in self._undeclarable:
            return
        try:
            queue = self._app.amqp.queues[name]
        except KeyError:  # task_create_missing_queues is off: it is there, or the message is given back
            self._undeclarable.add(name)
            return
        channel = self._connection.channel()  # a refusal closes its channel
        try:
            queue.bind(channel).declare()
        except Exception as error:
            # kombu's transports have errors of their own for a queue that nobody may make.
            if isinstance(error, self._connection.connection_errors) and not isinstance(
                error, self._connection.channel_errors
            ):
                raise
            logger.warning("the broker refuses the declaration of queue %r, published to as it is: %s", name, error)
            self._undeclarable.add(name)
        else:
            self._declared.add(name)
        finally:
            with suppress(Exception):
                channel.close()

    def _try_send(self, envelope: Envelope, **options: Any) -> bool:
        """Send it, or a message that only names it; False, and a log line, if neither can be: the others must go out.

        What is run is what stands in the ledger, whatever its message says.
        """
        error = self._error_of(envelope, **options) if _fits(envelope) else ValueError("its headers are too long")
        if error is not None:
            logger.warning(
                "task %s[%s] is published by its id alone, as the broker takes no such message: %s: %s",
                envelope.name,
                envelope.id,
                type(error).__name__,
                error,
            )
            error = self._error_of(_named(envelope), **options)
        if error is not None:
            logger.error("task %s[%s] cannot be published", envelope.name, envelope.id, exc_info=error)
        return error is None

    def _error_of(self, envelope: Envelope, **options: Any) -> Exception | None:
        """Send it; return why it cannot be a message, or None. Raises what shows that the broker is away."""
        try:
            self._send(envelope, **options)
        except Exception as error:
            # Whatever is wrong with it, or with its queue (kombu's transports have errors of their own). py-amqp calls
            # it a lost connection if a text is too long, of which nothing has been sent.
            is_lost = isinstance(error, self._lost) and not isinstance(error, EncodeError)
            if is_lost and type(error).__name__ != "FrameSyntaxError":
                raise
            return error
        return None

    def _send(self, envelope: Envelope, **options: Any) -> None:
        properties = dict(envelope.properties)
        priority = properties.pop("priority", None)
        # What the sender asked the broker to drop after a while expires in the ledger: see capture.
        properties.pop("expiration", None)
        is_task = PROBE_HEADER not in envelope.headers
        headers = {**envelope.headers, SENT_HEADER: True} if is_task else envelope.headers
        # As bytes: kombu would encode a text by the content encoding, which may be "binary" or what the body is not.
        self._producer.publish(
            base64.b64decode(envelope.body) if envelope.body_encoding == "base64" else envelope.body.encode(),
            exchange=envelope.exchange,
            routing_key=envelope.routing_key,
            content_type=envelope.content_type,
            content_encoding=envelope.content_encoding,
            headers=headers,
            priority=priority,
            expiration=None if is_task else PROBE_EXPIRES_S,
            retry=False,
            timeout=CONFIRM_S,
            **options,
            **properties,
        )


def _fits(envelope: Envelope) -> bool:
    """Whether its headers fit into a frame: RabbitMQ hangs up for one that is longer."""
    return len(repr(envelope.headers)) + len(repr(envelope.properties)) <= LONGEST_HEADERS


def _named(envelope: Envelope) -> Envelope:
    """A message that names a task and holds nothing else."""
    headers = {"id": envelope.id, "task": envelope.name[:NAME_KEPT]}
    return replace(
        envelope,
        headers=headers,
        properties={"delivery_mode": 2},
        body="[[], {}, {}]",
        body_encoding="utf-8",
        content_type="application/json",
        content_encoding="utf-8",
    )


def note_sent(begin: Callable[[], AbstractContextManager[Tx]], confirmed: Sequence[tuple[str, int]]) -> None:
    """Note in a transaction of its own, which *begin* begins, that the broker has confirmed these ``(id, fence)``."""
    with begin() as tx:
        sending.note_sent(tx, confirmed)
        reached(Crashpoint.NOTE_SENT_BEFORE_COMMIT)
    reached(Crashpoint.NOTE_SENT_AFTER_COMMIT)


class _Confirms:
    """Publisher confirms of one channel of py-amqp, waited for together."""

    def __init__(self, channel: Any) -> None:
        self._number = 0
        self._open: dict[int, Envelope] = {}
        self._confirmed: list[str] = []
        self._returned: set[str] = set()
        self._queues_returned: set[str] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def expect(self, envelope: Envelope) -> None:
        """The next message on the channel is this one."""
        self._number += 1
        self._open[self._number] = envelope

    def count_one(self) -> None:
        """The next message on the channel is nobody's: its confirmation is not waited for."""
        self._number += 1

    def wait(self, connection: Any) -> list[str]:
        """Until all are confirmed or refused; the ids of those that reached a queue. Raises BrokerAway."""
        until = time.monotonic() + CONFIRM_S
        while self._open:
            left = until - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                connection.drain_events(timeout=left)
            except (socket.timeout, TimeoutError) as error:  # noqa: UP041  (what py-amqp raises)
                raise BrokerAway(str(connection.as_uri()), "it did not confirm what was published") from error
        confirmed, self._confirmed = self._confirmed, []
        returned, self._returned = self._returned, set()
        return [id for id in confirmed if id not in returned]

    def returned_queues(self) -> set[str]:
        """The queues of what was given back since the last call."""
        queues, self._queues_returned = self._queues_returned, set()
        return queues

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed.extend(envelope.id for envelope in self._settle(tag, multiple))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for envelope in self._settle(tag, multiple):
            logger.warning("the broker refused task %s[%s], which goes out again", envelope.name, envelope.id)

    def _settle(self, tag: int, multiple: bool) -> Iterable[Envelope]:
        tags = [one for one in self._open if one <= tag] if multiple else [tag] if tag in self._open else []
        return [self._open.pop(one) for one in tags]

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        # RabbitMQ gives a message back before it confirms it.
        headers = (message.properties or {}).get("application_headers") or {}
        found = [e for e in self._open.values() if e.id == headers.get("id") or PROBE_HEADER in headers]
        for envelope in found:
            if envelope.id not in self._returned:
                self._returned.add(envelope.id)
                self._queues_returned.add(envelope.queue)
        logger.warning("no queue is bound to exchange %r with routing key %r: %s", exchange, routing_key, error)
