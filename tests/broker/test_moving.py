"""Move a running system in, from one way of delivery to the other, and out again: every task runs, once."""

from __future__ import annotations

from collections import Counter

import pytest
from celery import Celery
from workers import Shop, until

from brokers import BrokerServer
from mirepoix.states import State

STOCK = {"SHOP_STOCK": "1"}
FIRST = {"capture": False}
"""The settings of the first of the two deploys."""


class Stock:
    """Celery as it is, on the same broker."""

    def __init__(self, url: str) -> None:
        self._app = Celery("stock", set_as_current=False, broker=url)
        self._app.conf.task_ignore_result = True

    def send(self, name: str, *args: object, **options: object) -> str:
        return self._app.send_task(f"shop.{name}", args=args, **options).id

    def close(self) -> None:
        self._app.close()


@pytest.fixture
def stock(broker: BrokerServer):
    app = Stock(broker.url)
    yield app
    app.close()


def ran_once(shop: Shop, ids: list[str]) -> None:
    """Each of them ran to its end, and none twice."""

    def ends() -> Counter[str]:
        return Counter(effect.id for effect in shop.effects(what="end"))

    until(lambda: set(ids) <= set(ends()), f"all of {len(ids)} tasks ran")
    assert {id: runs for id, runs in ends().items() if runs != 1} == {}


def test_what_was_sent_past_the_ledger_runs_as_in_celery(shop: Shop, stock: Stock):
    shop.worker()
    ids = [stock.send("note") for _ in range(10)] + [stock.send("note", countdown=0.5)]
    ran_once(shop, ids)
    assert shop.ledger.states() == {}
    assert {effect.fence for effect in shop.effects(what="end")} == {None}


def test_what_a_task_sends_that_was_sent_past_the_ledger_is_in_it(shop: Shop, stock: Stock):
    shop.worker()
    id = stock.send("again", 2)
    until(lambda: shop.runs(id) == 3, "it was retried twice")
    shop.wait(id, State.SUCCEEDED)


def test_what_was_sent_past_the_ledger_is_adopted(shop: Shop, stock: Stock):
    first = shop.worker("w1", foreign_tasks="adopt", concurrency=1)
    held = stock.send("gate", "open")
    shop.begun(held)
    later = stock.send("note", countdown=1.0)
    until(lambda: later in shop.ledger.states(), "the one with an eta waits in the ledger")
    first.remove()
    shop.worker("w2", foreign_tasks="adopt")
    shop.make("open")
    shop.wait([held, later], State.SUCCEEDED)
    assert (shop.runs(held), shop.runs(later)) == (2, 1)


def test_what_is_adopted_runs_once_however_often_its_message_comes(shop: Shop, stock: Stock):
    shop.worker(foreign_tasks="adopt")
    for _ in range(5):
        stock.send("note", task_id="same")
    last = stock.send("note")
    shop.wait(["same", last], State.SUCCEEDED)
    ran_once(shop, ["same", last])


def test_before_it_captures_an_app_sends_as_celery_does(shop: Shop):
    client = shop.client(**FIRST)
    id = client.send_task("shop.note").id
    shop.worker(**FIRST)
    ran_once(shop, [id])
    assert shop.ledger.states() == {}


@pytest.mark.slow
def test_a_running_system_moves_in_and_out(shop: Shop, stock: Stock):
    sent = [stock.send("spin", 0.02) for _ in range(20)]
    old = shop.worker("old", env=STOCK)
    # the first deploy: workers know the ledger, nobody writes into it
    first_client = shop.client(**FIRST)
    first = shop.worker("first", **FIRST)
    sent += [stock.send("spin", 0.02) for _ in range(20)]
    sent += [first_client.send_task("shop.spin", (0.02,)).id for _ in range(20)]
    until(lambda: set(sent) <= {effect.id for effect in shop.effects(what="end")}, "the stock worker is idle")
    old.stop()  # with tasks at hand, stock Celery may wait for 30 s, and have them run twice
    # the second: producers and workers of both side by side
    second = shop.worker("second")
    captured = []
    for _ in range(20):
        sent.append(first_client.send_task("shop.spin", (0.02,)).id)
        captured.append(shop.send("spin", 0.02))
    first.stop()
    captured += [shop.send("spin", 0.02) for _ in range(20)]
    ran_once(shop, [*sent, *captured])
    assert set(captured) == set(shop.ledger.states())
    # and back
    third = shop.worker("third", **FIRST)
    captured += [shop.send("spin", 0.02) for _ in range(20)]
    second.stop()
    sent += [first_client.send_task("shop.spin", (0.02,)).id for _ in range(20)]
    shop.wait(captured, State.SUCCEEDED)
    last = shop.worker("last", env=STOCK)
    third.stop()
    sent += [stock.send("spin", 0.02) for _ in range(20)]
    ran_once(shop, [*sent, *captured])
    assert last.is_running


def test_tasks_of_a_ledger_without_a_broker_are_taken_up_by_the_broker(shop: Shop):
    without = shop.client(delivery="ledger")
    ids = [without.send_task("shop.note").id for _ in range(20)]
    shop.worker()
    shop.wait(ids, State.SUCCEEDED)
    ran_once(shop, ids)


def test_workers_of_both_ways_share_one_ledger(shop: Shop):
    by_ledger = shop.worker("ledger", delivery="ledger", conf={"broker_url": "memory://"})
    shop.worker("broker")
    without = shop.client(delivery="ledger")
    ids = [shop.send("spin", 0.02) for _ in range(40)] + [without.send_task("shop.spin", (0.02,)).id for _ in range(40)]
    shop.wait(ids, State.SUCCEEDED)
    ran_once(shop, ids)
    assert by_ledger.is_running


def test_purging_the_broker_s_queue_cancels_what_waits_in_the_ledger(shop: Shop):
    ids = [shop.send("note") for _ in range(5)]
    later = shop.send("note", countdown=60)
    done = shop.celery("purge", "-f")
    assert "Purged 6 messages" in done.stdout, done.stdout + done.stderr
    assert {shop.state(id) for id in (*ids, later)} == {State.CANCELLED}
    shop.worker()
    ran_once(shop, [shop.send("note")])
    assert [shop.runs(id) for id in ids] == [0] * 5


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)  # on Redis Celery's own reaches nobody either
def test_a_task_to_every_worker_goes_as_celery_sends_it(shop: Shop):
    queues = """
from kombu.common import Broadcast
app.conf.task_queues = (*[kombu.Queue("celery")], Broadcast("everyone"))
"""
    with (shop.folder / "shop.py").open("a") as module:
        module.write("import kombu\n" + queues)
    shop.worker("w1")
    shop.worker("w2")
    shop.start("sends", "-c", "import shop; shop.note.apply_async(queue='everyone', exchange='everyone')").ends()
    until(lambda: len(shop.effects(what="end")) == 2, "both workers ran it")
    assert shop.ledger.states() == {}
