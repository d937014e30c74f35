"""A task that was sent past the ledger is adopted into the queue that it came from, however it was routed there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Exchange, Queue
from workers import Shop, until

from brokers import BrokerServer, RabbitServer
from mirepoix.states import State

pytestmark = pytest.mark.slow

QUEUES = """
import kombu

topics, letters = kombu.Exchange("topics", type="topic"), kombu.Exchange("letters", type="direct")
app.conf.task_queues = [
    kombu.Queue("celery"),
    kombu.Queue("logs", topics, routing_key="log.info.#"),
    kombu.Queue("errors", topics, routing_key="log.error.*"),
    kombu.Queue("mail", letters, routing_key="by.air"),
]
"""


@pytest.fixture
def shop(broker: BrokerServer, postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop that adopts, with queues whose routing keys are not their names."""
    settings = {"delivery": "broker", "foreign_tasks": "adopt"}
    with Shop(tmp_path / "shop", postgresql_url, broker=broker, **settings) as shop:
        with (shop.folder / "shop.py").open("a") as module:
            module.write(QUEUES)
        yield shop
    if isinstance(broker, RabbitServer):
        for queue in ("logs", "errors", "mail"):
            broker.delete_queue(queue)


@pytest.fixture
def stock(broker: BrokerServer) -> Iterator[Celery]:
    """Celery as it is, with the same queues."""
    topics, letters = Exchange("topics", type="topic"), Exchange("letters", type="direct")
    with Celery("stock", set_as_current=False, broker=broker.url) as app:
        app.conf.task_queues = [
            Queue("celery"),
            Queue("logs", topics, routing_key="log.info.#"),
            Queue("errors", topics, routing_key="log.error.*"),
            Queue("mail", letters, routing_key="by.air"),
        ]
        app.conf.task_ignore_result = True
        yield app


WAYS = {
    "by the default queue": ({}, "celery", ""),
    "by a queue's name": ({"queue": "mail"}, "mail", ""),
    "by an exchange and its key": ({"exchange": "letters", "routing_key": "by.air"}, "mail", "letters"),
    "by a topic": ({"queue": "logs", "routing_key": "log.info.disk.full"}, "logs", "topics"),
    "by another topic": ({"queue": "errors", "routing_key": "log.error.disk"}, "errors", "topics"),
}

QUEUE_OF = {way: queue for way, (_, queue, _) in WAYS.items()}


def test_what_is_adopted_stands_in_the_queue_that_it_came_from(shop: Shop, stock: Celery):
    shop.worker(pool="threads", concurrency=len(WAYS))
    ids = {way: stock.send_task("shop.gate", ("open",), **options).id for way, (options, _, _) in WAYS.items()}
    until(lambda: set(ids.values()) <= set(shop.ledger.states()), "all are adopted")
    found = {way: (shop.row(id)["queue"], shop.row(id)["exchange"]) for way, id in ids.items()}
    assert found == {way: (queue, exchange) for way, (_, queue, exchange) in WAYS.items()}
    shop.make("open")
    shop.wait(ids.values(), State.SUCCEEDED)


def test_what_is_adopted_and_retried_goes_the_same_way_again(shop: Shop, stock: Celery):
    shop.worker(pool="threads")
    ids = {way: stock.send_task("shop.again", (1, 0.1), **options).id for way, (options, _, _) in WAYS.items()}
    until(lambda: all(shop.runs(id) == 2 for id in ids.values()), "all ran twice")
    shop.wait(ids.values(), State.SUCCEEDED)
    assert {way: shop.row(id)["queue"] for way, id in ids.items()} == QUEUE_OF


def test_what_is_adopted_and_comes_back_from_a_dead_worker_goes_the_same_way_again(shop: Shop, stock: Celery):
    first = shop.worker("first", pool="threads", concurrency=len(WAYS))
    ids = {way: stock.send_task("shop.gate", ("open",), **options).id for way, (options, _, _) in WAYS.items()}
    for id in ids.values():
        shop.begun(id)
    first.remove()
    shop.worker("second", pool="threads", concurrency=len(WAYS))
    shop.make("open")
    shop.wait(ids.values(), State.SUCCEEDED)
    assert [shop.runs(id) for id in ids.values()] == [2] * len(ids)
