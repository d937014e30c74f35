"""Kill a process at every commit boundary of broker mode: whatever it was doing is done by another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import invariants
import pytest
from test_every_crashpoint import WITH_A_BROKER, armed, dies, produce
from workers import Shop, until

from brokers import RedisServer
from mirepoix.crashpoints import Crashpoint

pytestmark = pytest.mark.slow


def a_producer_dies(shop: Shop, point: Crashpoint) -> None:
    """What it has committed and not announced the relay publishes."""
    shop.send("note", task_id="first")
    dies(shop, shop.start("armed", "-c", SEND, env=armed(shop, point)))
    assert shop.ledger.states()["sent"] == "pending"
    shop.worker("clean")
    shop.wait(["first", "sent"], "succeeded")
    produce(shop)


def a_worker_dies(shop: Shop, point: Crashpoint) -> None:
    """Under the whole load."""
    produce(shop)
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.worker("clean")


def a_worker_dies_that_takes_what_came_back(shop: Shop, point: Crashpoint) -> None:
    """Another takes it, from the ledger or by its second message."""
    produce(shop)
    first = shop.worker("first", concurrency=1)
    shop.send("gate", "open", task_id="held", priority=9)
    shop.begun("held")
    first.remove()
    shop.make("open")
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.worker("clean")
    shop.wait("held", "succeeded")
    assert shop.runs("held") == 2


def a_relay_dies(shop: Shop, point: Crashpoint) -> None:
    """The broker has forgotten everything, and it was about to tell it again."""
    produce(shop)
    until(lambda: not shop.ledger.query(UNSENT), "all are sent")
    assert isinstance(shop.broker, RedisServer)
    shop.broker.flush()
    dies(shop, shop.start("armed", *RELAY, env=armed(shop, point)))
    shop.worker("clean")


RELAY = ("-m", "celery", "-A", "shop", "mirepoix", "relay")
SEND = "import shop, time; shop.note.apply_async(task_id='sent'); time.sleep(20)"
UNSENT = "SELECT id FROM mirepoix_task WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence"

SCENARIOS = {
    "enqueue_one": a_producer_dies,
    "publish": a_producer_dies,
    "note_sent": a_producer_dies,
    "receive": a_worker_dies,
    "take": a_worker_dies_that_takes_what_came_back,
    "resend": a_relay_dies,
}


@pytest.fixture
def shop(redis: RedisServer, postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop on PostgreSQL with a broker that can be emptied at once."""
    redis.flush()
    with Shop(tmp_path / "shop", postgresql_url, broker=redis, delivery="broker") as shop:
        yield shop


WITH_ONE_TOO = {Crashpoint.ENQUEUE_ONE_AFTER_COMMIT, Crashpoint.TAKE_BEFORE_COMMIT, Crashpoint.TAKE_AFTER_COMMIT}
"""Reached without a broker as well, and by other code."""


@pytest.mark.parametrize("point", sorted({*WITH_A_BROKER, *WITH_ONE_TOO}), ids=str)
def test_whoever_dies_nothing_is_lost_and_nothing_is_done_twice(shop: Shop, point: Crashpoint) -> None:
    shop.make("die")
    SCENARIOS[point.partition(".")[0]](shop, point)
    invariants.all_finished(shop)
    own = [id for id in ("first", "sent") if id in shop.ledger.states()]
    assert [shop.runs(id) for id in own] == [1] * len(own)
    invariants.check(shop)
