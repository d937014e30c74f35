"""Tasks go by the broker, and what is run is what stands in the ledger."""

from __future__ import annotations

import pytest
from workers import DEADLINE_S, POOLS, Shop, until

from mirepoix.records import UNSENT
from mirepoix.states import State

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_run_in_every_pool(shop: Shop, pool: str):
    shop.worker(pool=pool)
    ids = [shop.send("note") for _ in range(30)] + [shop.send("again", 2, 0.1), shop.send("spin", 0.2)]
    shop.wait(ids, State.SUCCEEDED)
    assert [id for id in ids if shop.runs(id) != (3 if shop.row(id)["name"] == "shop.again" else 1)] == []


def test_results_may_be_sent_back_by_the_broker(shop: Shop):
    conf = {"result_backend": "rpc://"}
    shop.worker(conf=conf)
    assert shop.client(conf).send_task("shop.add", args=(1, 2)).get(timeout=DEADLINE_S) == 3


def test_a_task_is_noted_as_sent_only_by_the_broker_s_confirmation(shop: Shop):
    id = shop.send("note")
    until(lambda: shop.row(id)["sendings"] == 1, "it was sent and noted")
    assert shop.broker.size("celery") == 1
    row = shop.row(id)
    assert (row["state"], row["sent_fence"], row["fence"]) == ("pending", 0, 0)


def test_an_acknowledged_message_is_gone_while_its_task_runs(shop: Shop):
    shop.worker(concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    shop.broker.kill()
    shop.broker.start()
    shop.make("open")
    shop.wait(id, State.SUCCEEDED)
    other = shop.send("note")
    shop.wait(other, State.SUCCEEDED)
    assert (shop.runs(id), shop.runs(other)) == (1, 1)


def test_a_message_that_comes_twice_runs_its_task_once(shop: Shop):
    ids = [shop.send("note") for _ in range(20)]
    until(lambda: all(shop.row(id)["sendings"] == 1 for id in ids), "all are sent")
    shop.ledger.write("UPDATE mirepoix_task SET sent_fence = -1")
    shop.worker()
    shop.wait(ids, State.SUCCEEDED)
    until(lambda: shop.broker.size("celery") == 0, "the second messages are taken off the queue")
    assert [shop.runs(id) for id in ids] == [1] * 20


def test_what_is_due_later_waits_in_the_ledger_and_not_in_the_broker(shop: Shop):
    shop.worker()
    id = shop.send("note", countdown=1.5)
    ready = shop.send("note")
    shop.wait(ready, State.SUCCEEDED)
    assert (shop.row(id)["sent_fence"], shop.row(id)["sendings"]) == (UNSENT, 0)
    shop.wait(id, State.SUCCEEDED)
    row = shop.row(id)
    assert 0 <= (row["leased_at"] - row["eta"]).total_seconds() < 2


def test_a_cancelled_task_does_not_run_though_its_message_waits(shop: Shop):
    id = shop.send("note")
    until(lambda: shop.row(id)["sendings"] == 1, "it was sent")
    shop.ledger.cancel(id)
    shop.worker()
    other = shop.send("note")
    shop.wait(other, State.SUCCEEDED)
    assert shop.state(id) == State.CANCELLED
    assert shop.runs(id) == 0


def test_a_worker_that_dies_loses_nothing(shop: Shop):
    first = shop.worker("w1", concurrency=2)
    gates = [shop.send("gate", "open") for _ in range(2)]
    for id in gates:
        shop.begun(id)
    rest = [shop.send("note") for _ in range(30)]
    until(lambda: "leased" in shop.ledger.states().values(), "it took more than it runs")
    shop.worker("w2", concurrency=2)
    first.remove()
    shop.make("open")
    shop.wait([*gates, *rest], State.SUCCEEDED)
    assert shop.effects(what="overlap") == []
    assert [shop.runs(id) for id in gates] == [2, 2]


def test_a_busy_worker_gives_back_what_it_cannot_take(shop: Shop):
    shop.worker("busy", "--prefetch-multiplier", "1", concurrency=1)
    held = shop.send("gate", "open")
    shop.begun(held)
    ids = [shop.send("note") for _ in range(4)]
    shop.worker("idle", concurrency=1)
    shop.wait(ids, State.SUCCEEDED)
    shop.make("open")
    shop.wait(held, State.SUCCEEDED)
