"""Publish tasks of the ledger to the broker, many at a time, and return which of them it confirmed."""

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
"""The largest number of tasks that are published, and noted as sent, together."""

CONFIRM_S = 15.0
"""A broker that does not confirm within this time counts as away."""

CONNECT_S = 4.0

PROBE_EXPIRES_S = 60.0

COUNTING = frozenset({"amqp", "redis", "memory", "filesystem", "sql", "pgmq"})
"""The drivers of brokers that count waiting messages exactly. SQS, Azure and Pub/Sub only estimate, minutes late."""

LONGEST_HEADERS = 60_000
"""The largest size of headers, in characters. A frame of RabbitMQ holds 128 KiB, and all headers must fit into one."""

NAME_KEPT = 255

_inherited: list[Any] = []
"""Connections that a child process found after a fork. They are never used and never closed: that would end the
parent's connection."""


class Publisher:
    """One connection to the broker, for one thread. It is opened when it is needed, and closed at the first error.

    RabbitMQ confirms each message, and returns what reaches no queue. With other brokers the reply to the publish
    command is the confirmation. A broker can still lose a confirmed message: the ledger records only that it was sent.
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
        """Connect, unless it is connected already. Raises BrokerAway."""
        if self._pid != os.getpid():
            _inherited.append((self._connection, self._producer, self._confirms))
            self._connection, self._pid = None, os.getpid()
        if self._connection is not None:
            return
        with self._reaching():
            self._connection = connection = self._app.connection_for_write(connect_timeout=CONNECT_S)
            # kombu would wait for a confirmation after each publish. Here one wait covers all of them.
            connection.transport_options = {**(connection.transport_options or {}), "confirm_publish": False}
            connection.connect()
            channel = connection.default_channel
            is_amqp = connection.transport.driver_type == "amqp"
            self._confirms = _Confirms(channel) if is_amqp and hasattr(channel, "confirm_select") else None
            self._producer = Producer(channel, auto_declare=False)
            self._declared.clear()
            self._undeclarable.clear()

    def publish(self, envelopes: Sequence[Envelope]) -> list[str]:
        """Publish *envelopes* and return the ids that the broker confirmed, without those that reached no queue.

        Raises BrokerAway if the connection is lost: then any of them may have arrived.
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
                self._declared.discard(queue)  # it was deleted: the next publish declares it again
            return confirmed

    def probe(self, queue: str, count: int) -> bool:
        """Send *count* messages that are no tasks through *queue*, and return whether all were confirmed.

        Raises BrokerAway.
        """
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
        """Whether this broker counts waiting messages exactly. Raises BrokerAway."""
        self.open()
        return self._connection.transport.driver_type in COUNTING

    def count(self, queue: str) -> int | None:
        """How many messages wait in *queue*, without those that workers have; None if there is no such queue.

        The number is an estimate unless the broker `can_count`. Raises BrokerAway.
        """
        self.open()
        with self._reaching():
            channel = self._connection.channel()  # the broker closes the channel if the queue does not exist
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
        """Declare each queue again before the next publish to it: the broker may have lost its queues."""
        self._declared.clear()
        if self._connection is not None:
            with suppress(Exception):
                self._connection.declared_entities.clear()

    def close(self) -> None:
        """Close the connection. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            with suppress(Exception):
                connection.close()

    # ---- details

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn each error that shows that the broker is away into BrokerAway, and close the connection."""
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
        """The errors that show that the broker is away."""
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
        except KeyError:  # task_create_missing_queues is off: the queue exists, or the broker returns the message
            self._undeclarable.add(name)
            return
        channel = self._connection.channel()  # a refusal closes its channel
        try:
            queue.bind(channel).declare()
        except Exception as error:
            # kombu's transports have errors of their own for a queue that must not be created.
            if isinstance(error, self._connection.connection_errors) and not isinstance(
                error, self._connection.channel_errors
            ):
                raise
            logger.warning(
                "the broker refuses the declaration of queue %r; tasks are published to it undeclared: %s", name, error
            )
            self._undeclarable.add(name)
        else:
            self._declared.add(name)
        finally:
            with suppress(Exception):
                channel.close()

    def _try_send(self, envelope: Envelope, **options: Any) -> bool:
        """Send it, or else a message that has only its id. If both fail, log that and return False.

        The other messages of the batch must go out. A worker runs what the ledger contains, not what a message says.
        """
        error = self._error_of(envelope, **options) if _fits(envelope) else ValueError("its headers are too long")
        if error is not None:
            logger.warning(
                "task %s[%s] is published by its id alone, since the broker refuses its message: %s: %s",
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
        """Send it, and return why it cannot be a message, or None. Raises an error if the broker is away."""
        try:
            self._send(envelope, **options)
        except Exception as error:
            # Something is wrong with the message or its queue (kombu's transports have errors of their own). For a text
            # that is too long, py-amqp reports a lost connection, although it has sent nothing.
            is_lost = isinstance(error, self._lost) and not isinstance(error, EncodeError)
            if is_lost and type(error).__name__ != "FrameSyntaxError":
                raise
            return error
        return None

    def _send(self, envelope: Envelope, **options: Any) -> None:
        properties = dict(envelope.properties)
        priority = properties.pop("priority", None)
        if priority is not None or envelope.priority:  # an operator may have changed the row's
            priority = envelope.priority
        # The ledger handles the expiration that the sender asked the broker for: see `mirepoix.celery.capture`.
        properties.pop("expiration", None)
        is_task = PROBE_HEADER not in envelope.headers
        headers = {**envelope.headers, SENT_HEADER: True} if is_task else envelope.headers
        # The body is sent as bytes: kombu would encode a text by the content encoding, which may be "binary" or wrong.
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
    """Whether its headers fit into a frame: RabbitMQ closes the connection if they do not."""
    return len(repr(envelope.headers)) + len(repr(envelope.properties)) <= LONGEST_HEADERS


def _named(envelope: Envelope) -> Envelope:
    """A message that has the id and the name of a task, and nothing else."""
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
    """Record that the broker confirmed these ``(id, fence)``, in a transaction that *begin* begins."""
    with begin() as tx:
        sending.note_sent(tx, confirmed)
        reached(Crashpoint.NOTE_SENT_BEFORE_COMMIT)
    reached(Crashpoint.NOTE_SENT_AFTER_COMMIT)


class _Confirms:
    """The publisher confirms of one channel of py-amqp. One wait covers many messages."""

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
        """Count *envelope* as the next message on the channel, and expect its confirmation."""
        self._number += 1
        self._open[self._number] = envelope

    def count_one(self) -> None:
        """Count a message on the channel, and expect no confirmation of it."""
        self._number += 1

    def wait(self, connection: Any) -> list[str]:
        """Wait until all are confirmed or refused, and return the ids of those that reached a queue.

        Raises BrokerAway.
        """
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
        """The queues of the messages that the broker returned since the last call."""
        queues, self._queues_returned = self._queues_returned, set()
        return queues

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed.extend(envelope.id for envelope in self._settle(tag, multiple))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for envelope in self._settle(tag, multiple):
            logger.warning("the broker refused task %s[%s]; it will be published again", envelope.name, envelope.id)

    def _settle(self, tag: int, multiple: bool) -> Iterable[Envelope]:
        tags = [number for number in self._open if number <= tag] if multiple else [tag] if tag in self._open else []
        return [self._open.pop(number) for number in tags]

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        # RabbitMQ returns a message before it confirms it.
        headers = (message.properties or {}).get("application_headers") or {}
        found = [e for e in self._open.values() if e.id == headers.get("id") or PROBE_HEADER in headers]
        for envelope in found:
            if envelope.id not in self._returned:
                self._returned.add(envelope.id)
                self._queues_returned.add(envelope.queue)
        logger.warning("no queue is bound to exchange %r with routing key %r: %s", exchange, routing_key, error)
