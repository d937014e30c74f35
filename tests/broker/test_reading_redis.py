"""What follows a message in Redis' list is read with it, up to what the worker can take now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Consumer

from brokers import RedisServer
from mirepoix.broker.redis_unacked import keep_no_copy
from mirepoix.broker.tolerant import READ_MOST, tolerate
from mirepoix.records import SENT_HEADER

pytestmark = pytest.mark.slow


class Reader:
    """A consumer of one queue, as a worker's."""

    def __init__(self, connection: Connection, prefetch: int) -> None:
        self.received: list[Any] = []
        self.wanted = 0
        self.connection = connection
        self.channel = connection.channel()
        keep_no_copy(self.channel)
        tolerate(self.channel, lambda: self.wanted)
        self.channel.basic_qos(0, prefetch, False)
        queue = connection.SimpleQueue("read").queue
        self.consumer = Consumer(self.channel, [queue], on_message=self.received.append, accept=["json"])
        self.consumer.consume()

    def read(self, wanted: int) -> list[Any]:
        """The bodies of what one turn brings."""
        self.wanted = wanted
        before = len(self.received)
        self.connection.drain_events(timeout=5)
        return [message.body for message in self.received[before:]]


@pytest.fixture(params=["", "shop:"], ids=["", "prefixed"])
def connection(redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[Connection]:
    redis.start()
    redis.flush()
    options = {"global_keyprefix": request.param} if request.param else {}
    with Connection(redis.url, transport_options=options) as connection:
        yield connection
    redis.flush()


def publish(connection: Connection, *bodies: str) -> None:
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, routing_key="read", headers={SENT_HEADER: "1"}, serializer="raw")


def put_raw(connection: Connection, item: str) -> None:
    with connection.channel().conn_or_acquire() as client:
        client.lpush("read", item)


def as_text(bodies: list[Any]) -> list[str]:
    return [body.decode() if isinstance(body, bytes) else body for body in bodies]


def test_as_many_are_read_as_are_wanted_in_their_order(connection: Connection):
    reader = Reader(connection, prefetch=0)
    publish(connection, *(f"m{n}" for n in range(12)))
    assert as_text(reader.read(0)) == ["m0"]
    assert as_text(reader.read(4)) == ["m1", "m2", "m3", "m4", "m5"]
    assert as_text(reader.read(50)) == [f"m{n}" for n in range(6, 12)]
    publish(connection, *(f"n{n}" for n in range(READ_MOST + 5)))
    assert len(reader.read(10_000)) == READ_MOST + 1


def test_never_more_than_the_prefetch_count_is_unacknowledged(connection: Connection):
    reader = Reader(connection, prefetch=8)
    publish(connection, *(f"m{n}" for n in range(12)))
    assert len(reader.read(50)) == 8
    for message in reader.received[:3]:
        message.ack()
    assert as_text(reader.read(50)) == ["m8", "m9", "m10"]


def test_what_is_no_json_is_delivered_among_the_others(connection: Connection):
    reader = Reader(connection, prefetch=0)
    publish(connection, "m0", "m1")
    put_raw(connection, "no json")
    publish(connection, "m2")
    bodies = as_text(reader.read(9))
    assert (bodies[:2], bodies[3]) == (["m0", "m1"], "m2")
    assert bodies[2] == "no json"


def test_an_error_in_the_middle_leaves_the_rest_in_its_place(connection: Connection):
    reader = Reader(connection, prefetch=0)
    publish(connection, *(f"m{n}" for n in range(6)))

    def refuse(message: Any) -> None:
        reader.received.append(message)
        if len(reader.received) == 3:
            raise ValueError("it cannot be handled")

    reader.consumer.on_message = refuse
    with pytest.raises(ValueError, match="it cannot be handled"):
        reader.read(50)
    reader.consumer.on_message = reader.received.append
    assert as_text(reader.read(50)) == ["m3", "m4", "m5"]
