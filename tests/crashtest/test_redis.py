"""Tasks that write to Redis, on a server of the tests' own: no option names it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator

import pytest
import redis as client
from corpus.apps import plain

from brokers import RedisServer
from mirepoix.crashtest.check import explore


@pytest.fixture(params=["bytes", "text"])
def server(request: pytest.FixtureRequest, redis: RedisServer) -> Iterator[client.Redis]:
    """A client with some keys that were there before."""
    opened = client.Redis.from_url(redis.url, decode_responses=request.param == "text")
    opened.flushdb()
    opened.mset({"stock": 5, "lent": "no"})
    opened.set("session", "x", ex=1_000)
    opened.rpush("log", "begin")
    opened.hset("profile", mapping={"name": "Ann", "visits": 1})
    with opened:
        yield opened


def found(task: object, *args: object, **options: object) -> set[str]:
    return {finding.code for finding in explore(task, args, django=False, **options).findings}


SEEN: dict[str, client.Redis] = {}


@pytest.fixture(autouse=True)
def seen(server: client.Redis) -> None:
    SEEN["client"] = server


@plain.task(shared=False, name="takes_one")
def takes_one():
    SEEN["client"].decr("stock")


@plain.task(shared=False, name="takes_one_then_logs")
def takes_one_then_logs():
    SEEN["client"].decr("stock")
    SEEN["client"].rpush("log", "taken")


@plain.task(shared=False, name="says_it")
def says_it():
    SEEN["client"].publish("news", "it is out")


@plain.task(shared=False, name="adds_to_a_stream")
def adds_to_a_stream():
    SEEN["client"].xadd("events", {"what": "sold"})


@plain.task(shared=False, name="counts_in_a_pipeline")
def counts_in_a_pipeline():
    with SEEN["client"].pipeline() as pipe:
        pipe.get("stock")
        pipe.hincrby("profile", "visits")
        pipe.rpush("log", "visit")
        pipe.execute()


@plain.task(shared=False, name="counts_asynchronously")
def counts_asynchronously():
    async def count() -> None:
        given = SEEN["client"].connection_pool.connection_kwargs
        async with client.asyncio.Redis(host=given["host"], port=given["port"]) as own:
            await own.incr("stock")
            async with own.pipeline() as pipe:
                await pipe.rpush("log", "counted").execute()

    asyncio.run(count())


@plain.task(shared=False, name="lends_for_good")
def lends_for_good():
    SEEN["client"].set("lent", "yes")
    SEEN["client"].expire("lent", 60)
    if SEEN["client"].setnx("lent:once", 1):
        SEEN["client"].rpush("log", "lent")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (takes_one, {"changed-row:Redis.stock"}),
        (takes_one_then_logs, {"changed-row:Redis.stock"}),
        (says_it, {"duplicate-redis:PUBLISH news"}),
        (adds_to_a_stream, {"changed-row:Redis.events"}),
        (counts_in_a_pipeline, {"changed-row:Redis.profile"}),
        (counts_asynchronously, {"changed-row:Redis.stock"}),
        (lends_for_good, {"changed-row:Redis.log"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_is_planted_is_found(task: object, expected: set[str]):
    assert found(task) == expected


@plain.task(shared=False, name="puts_values")
def puts_values():
    own = SEEN["client"]
    own.set("lent", "yes", ex=60)
    own.hset("profile", "name", "Bob")
    own.sadd("tags", "a", "b")
    own.zadd("ranks", {"a": 1})
    own.delete("stock")
    own.get("lent")


@plain.task(shared=False, name="counts_once")
def counts_once():
    """A transaction with what tells that it was done."""
    own = SEEN["client"]
    with own.pipeline() as pipe:
        pipe.watch("counted")
        if pipe.exists("counted"):
            return
        pipe.multi()
        pipe.incr("stock")
        pipe.set("counted", 1)
        pipe.execute()


@plain.task(shared=False, name="keeps_volatile_values")
def keeps_volatile_values():
    own = SEEN["client"]
    own.set("seen_at", time.time())
    own.set(f"token:{uuid.uuid4()}", json.dumps({"by": str(uuid.uuid4())}), ex=60)
    own.delete(*own.keys("token:*"))


@plain.task(shared=False, name="under_a_lock")
def under_a_lock():
    own = SEEN["client"]
    with own.lock("the lock", timeout=0.5):
        own.set("lent", "yes")


@pytest.mark.parametrize(
    "task", [puts_values, counts_once, keeps_volatile_values, under_a_lock], ids=lambda task: task.name
)
def test_what_is_safe_raises_no_alarm(task: object):
    assert found(task) == set()


def test_the_report_says_what_a_key_holds(server: client.Redis):
    report = explore(takes_one, (), django=False)
    assert "].stock is 3 (clean run: 4)" in str(report)
    assert "with a key that says that it was done" in str(report)
    assert report.explored.state == "Redis"
    assert report.explored.points[0].label == "Redis DECRBY stock"


@plain.task(shared=False, name="logs_and_takes", acks_late=True)
def logs_and_takes():
    SEEN["client"].rpush("log", "taken")
    SEEN["client"].set("lent", "yes")


def test_a_process_that_is_killed_for_real_leads_to_the_same(server: client.Redis):
    assert found(logs_and_takes, kill=True) == found(logs_and_takes) == {"changed-row:Redis.log"}


def test_afterwards_every_key_is_as_it_was(server: client.Redis):
    for task in (puts_values, counts_in_a_pipeline, lends_for_good, adds_to_a_stream):
        explore(task, (), django=False)
    assert sorted(map(_text, server.keys("*"))) == ["lent", "log", "profile", "session", "stock"]
    assert [_text(one) for one in server.lrange("log", 0, -1)] == ["begin"]
    assert {_text(name): _text(held) for name, held in server.hgetall("profile").items()} == {
        "name": "Ann",
        "visits": "1",
    }
    assert server.ttl("session") > 900


def _text(held: bytes | str) -> str:
    return held.decode() if isinstance(held, bytes) else held
