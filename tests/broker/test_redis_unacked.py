"""Redis keeps no second copy of a notification; what a worker cannot take goes back all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Consumer, Producer, Queue
from redis import Redis
from workers import DEADLINE_S, Shop, until

from brokers import RedisServer
from mirepoix.broker.redis_unacked import keep_no_copy
from mirepoix.records import SENT_HEADER
from mirepoix.states import State


@pytest.fixture
def shop(redis: RedisServer, postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with Redis in front of its ledger."""
    redis.start()
    redis.flush()
    with Shop(tmp_path / "shop", postgresql_url, broker=redis, delivery="broker") as shop:
        yield shop


@pytest.fixture
def books(redis: RedisServer, shop: Shop) -> Iterator[Redis]:
    """What Redis holds."""
    with Redis.from_url(redis.url, decode_responses=True) as client:
        yield client


def test_redis_writes_down_nothing_of_tasks_of_the_ledger(shop: Shop, books: Redis):
    ids = [shop.send("note") for _ in range(20)]
    books.config_resetstat()
    shop.worker("w1", concurrency=1)
    shop.wait(ids, State.SUCCEEDED)
    commands = books.info("commandstats")
    reads = ("cmdstat_brpop", "cmdstat_rpop")
    assert sum(commands.get(name, {"calls": 0})["calls"] for name in reads) >= 20
    # What workers tell each other is no task of the ledger.
    assert commands.get("cmdstat_zadd", {"calls": 0})["calls"] < 5
    assert books.llen("celery") == 0


def test_what_a_busy_worker_cannot_take_is_back_in_the_queue(shop: Shop, books: Redis):
    shop.worker("w1", "--prefetch-multiplier", "2", concurrency=1)
    gate = shop.send("gate", "open")
    shop.begun(gate)
    ids = [shop.send("note") for _ in range(6)]

    def pending() -> int:
        return sum(shop.row(id)["state"] == State.PENDING for id in ids)

    until(lambda: books.llen("celery") == pending() > 0, "what it has not taken is in the queue")
    shop.make("open")
    shop.wait([gate, *ids], State.SUCCEEDED)
    assert [shop.runs(id) for id in [gate, *ids]] == [1] * 7


def test_what_is_not_acknowledged_when_its_channel_is_closed_is_back_in_the_queue(redis: RedisServer, books: Redis):
    received: list[Any] = []
    with Connection(redis.url) as connection:
        channel = connection.default_channel
        queue = Queue("doors", channel=channel)
        with Producer(channel) as producer:
            for number in range(4):
                headers = {SENT_HEADER: True} if number < 3 else {}
                producer.publish(number, routing_key="doors", declare=[queue], headers=headers)
        keep_no_copy(channel)
        with Consumer(channel, [queue], callbacks=[lambda _body, message: received.append(message)]):
            while len(received) < 4:
                connection.drain_events(timeout=DEADLINE_S)
        received[0].ack()
        received[1].requeue()
        assert (books.llen("doors"), books.hlen("unacked")) == (1, 1)
    assert (books.llen("doors"), books.hlen("unacked")) == (3, 0)


def test_what_was_sent_past_the_ledger_is_kept_until_it_is_acknowledged(shop: Shop, books: Redis):
    shop.worker("w1", concurrency=1)
    with Celery("stock", set_as_current=False, broker=shop.broker.url) as stock:
        ids = [stock.send_task("shop.gate", ("open",), ignore_result=True).id for _ in range(2)]
    until(lambda: shop.effects(what="begin"), "one runs, and is acknowledged early")
    until(lambda: books.hlen("unacked") == 1, "the other is kept")
    assert ids[1] in books.hvals("unacked")[0]
    shop.make("open")
    until(lambda: books.hlen("unacked") == 0, "it is acknowledged")


def test_a_lost_broker_does_not_make_closing_fail(redis: RedisServer, books: Redis):
    received: list[Any] = []
    connection = Connection(redis.url)
    channels = [connection.default_channel, connection.channel()]
    for number, channel in enumerate(channels):
        queue = Queue(f"doors-{number}", channel=channel)
        with Producer(channel) as producer:
            producer.publish(1, routing_key=queue.name, declare=[queue], headers={SENT_HEADER: True})
        keep_no_copy(channel)
        Consumer(channel, [queue], callbacks=[lambda _body, message: received.append(message)]).consume()
    while len(received) < len(channels):
        connection.drain_events(timeout=DEADLINE_S)
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.05)  # they wait for the next one
    redis.kill()
    with suppress(Exception):
        connection.collect()  # what Celery's worker does then
    connection.close()
    assert not connection.connected
    redis.start()
