"""`mirepoix relay`: one process publishes what nobody else has told the broker of; `health` tells whether it can."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from workers import Process, Shop, until

from brokers import RabbitServer, RedisServer
from mirepoix.ledger import sending
from mirepoix.records import UNSENT

RELAY = ("-m", "celery", "-A", "shop", "mirepoix", "relay")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path) -> Iterator[Shop]:
    """A shop with Redis in front of its ledger."""
    yield from open_shop(request, redis, tmp_path, request.param)


@pytest.fixture
def on_postgresql(request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path) -> Iterator[Shop]:
    """The same, for what has nothing to do with the database."""
    yield from open_shop(request, redis, tmp_path, "postgresql")


def open_shop(request: pytest.FixtureRequest, redis: RedisServer, folder: Path, database: str) -> Iterator[Shop]:
    redis.start()
    redis.flush()
    url = request.getfixturevalue(f"{database}_url")
    with Shop(folder / "shop", url, broker=redis, delivery="broker", probe_interval_s=0) as shop:
        yield shop
    redis.start()


def relay(shop: Shop, name: str = "relay", **settings: Any) -> Process:
    return shop.start(name, *RELAY, **settings).says("publishes what waits in")


def write(shop: Shop, *ids: str) -> None:
    """Write tasks that nobody has promised to publish."""
    headers = {"id": ids[0], "task": "shop.note"}
    shop.ledger.send(*ids, name="shop.note", headers=headers, routing_key="celery", sent_fence=UNSENT)


def published(shop: Shop) -> list[str]:
    """The ids in the messages that the broker has."""
    with redis_client.Redis.from_url(shop.broker.url) as client:
        return [json.loads(message)["headers"]["id"] for message in client.lrange("celery", 0, -1)]


def leader(shop: Shop) -> str | None:
    found = shop.ledger.do(sending.leader)
    return None if found is None else found.name.partition("@")[0]


def health(shop: Shop) -> tuple[bool, str]:
    """What ``mirepoix health`` says of the relay."""
    ended = shop.celery("mirepoix", "health")
    (line,) = [line for line in ended.stdout.splitlines() if " relay: " in line]
    return line.startswith("ok "), line.partition(" relay: ")[2]


def test_it_leads_and_publishes_what_waits_and_ends_on_sigterm(shop: Shop):
    write(shop, "before")
    process = relay(shop).says("this is the relay now")
    until(lambda: shop.row("before")["sendings"] == 1, "what waited is published")
    write(shop, "after")
    until(lambda: shop.row("after")["sendings"] == 1, "what comes is published")
    # What is still locked by the commit that wrote it is not noted as sent, and is then sent once more.
    assert {*published(shop)} == {"before", "after"}
    assert leader(shop) == "relay"
    process.stop()
    assert process.exit_code == 0, process.said
    assert "Traceback" not in process.said
    assert leader(shop) is None


def test_it_ends_on_ctrl_c(on_postgresql: Shop):
    process = relay(on_postgresql).send(signal.SIGINT).ends()
    assert process.exit_code == 0, process.said
    assert "Traceback" not in process.said


@pytest.mark.slow
def test_it_publishes_in_the_place_of_workers_and_the_next_takes_over_when_it_dies(on_postgresql: Shop):
    shop = on_postgresql
    shop.worker("w1")
    assert leader(shop) == "w1"
    first = relay(shop, "first").says("this is the relay now")
    second = relay(shop, "second")
    assert leader(shop) == "relay"
    first.kill()
    second.says("this is the relay now")
    second.kill()
    until(lambda: leader(shop) == "w1", "the worker publishes again")
    write(shop, "last")
    shop.wait("last", "succeeded")


@pytest.mark.slow
def test_health_tells_whether_anybody_publishes(on_postgresql: Shop):
    shop = on_postgresql
    write(shop, "a")
    assert health(shop) == (False, "1 task to be published, and no relay is alive")
    relay(shop)
    until(lambda: shop.row("a")["sendings"] == 1, "it is published")
    is_ok, said = health(shop)
    assert is_ok
    assert said.startswith("relay@")
    assert said.endswith(" publishes; 0 tasks to be published")
    shop.broker.kill()
    write(shop, "b")
    until(lambda: shop.ledger.do(sending.leader).trouble, "the relay has found that the broker is away")
    is_ok, said = health(shop)
    assert not is_ok
    assert said.startswith("1 task to be published; relay@")
    assert "cannot be reached" in said
    shop.broker.start()
    until(lambda: shop.row("b")["sendings"] == 1, "it is published")
    assert health(shop)[0]


@pytest.mark.slow
def test_health_tells_of_a_queue_that_takes_nothing(rabbitmq: RabbitServer, postgresql_url: str, tmp_path: Path):
    rabbitmq.start()
    conf = {"task_create_missing_queues": False}
    with Shop(tmp_path / "shop", postgresql_url, broker=rabbitmq, delivery="broker", conf=conf) as shop:
        relay(shop)
        write(shop, "goes")
        shop.ledger.send("waits", queue="nowhere", routing_key="nowhere", headers={"id": "waits"}, sent_fence=UNSENT)
        until(lambda: shop.row("goes")["sendings"] == 1, "the others go on")
        until(lambda: shop.ledger.do(sending.leader).trouble, "the relay has told of it")
        is_ok, said = health(shop)
        assert not is_ok
        assert "the broker takes nothing for queue 'nowhere'" in said
        assert shop.row("waits")["sendings"] == 0
    rabbitmq.purge("celery")
