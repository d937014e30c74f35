"""The broker dies, forgets and is away: nothing is lost, nothing overlaps, nothing that is finished runs again."""

from __future__ import annotations

from collections import Counter

import pytest
from workers import Process, Shop, until

from brokers import BrokerServer, RabbitServer, RedisServer
from mirepoix.states import State

pytestmark = pytest.mark.slow

UNSENT = "SELECT id FROM mirepoix_task WHERE state = 'pending' AND sent_fence <> fence"


def finished_once(shop: Shop, ids: list[str]) -> None:
    """All ran to their end once, and no two runs of one overlapped."""
    shop.wait(ids, State.SUCCEEDED)
    runs = Counter(effect.id for effect in shop.effects(what="end"))
    assert {id: runs[id] for id in ids if runs[id] != 1} == {}
    assert shop.effects(what="overlap") == []


def runs_again(shop: Shop) -> None:
    """A task that is sent now is done. How soon is measured by benchmarks.outages."""
    shop.wait(shop.send("note"), State.SUCCEEDED)


def test_a_broker_that_is_killed_three_times_with_tasks_queued_and_running(shop: Shop, broker: BrokerServer):
    shop.worker("w1", concurrency=2)
    shop.worker("w2", concurrency=2)
    gates = [shop.send("gate", "open") for _ in range(2)]
    for id in gates:
        shop.begun(id)
    ids = [shop.send("spin", 0.02) for _ in range(200)]
    for _ in range(3):
        done = sum(state == State.SUCCEEDED for state in shop.ledger.states().values())
        until(
            lambda done=done: (
                sum(s == State.SUCCEEDED for s in shop.ledger.states().values()) >= min(done + 10, len(ids))
            ),
            "some are done",
        )
        broker.kill()
        broker.start()
        runs_again(shop)
    shop.make("open")
    finished_once(shop, [*gates, *ids])


def forget(shop: Shop, broker: BrokerServer) -> None:
    """Let the broker lose what it holds, while it runs on."""
    if isinstance(broker, RedisServer):
        broker.flush()
    elif isinstance(broker, RabbitServer):
        broker.delete_queue("celery")


def test_a_broker_that_forgets_its_queue_while_it_runs(shop: Shop, broker: BrokerServer):
    shop.worker(concurrency=1)
    held = shop.send("gate", "open")
    shop.begun(held)
    ids = [shop.send("note") for _ in range(100)]
    until(lambda: not shop.ledger.query(UNSENT), "all are sent")
    forget(shop, broker)
    shop.make("open")
    finished_once(shop, [held, *ids])
    runs_again(shop)


def test_a_queue_that_is_deleted_while_a_busy_worker_does_not_listen(shop: Shop, broker: BrokerServer):
    worker = shop.worker(concurrency=1)
    held = shop.send("gate", "open")
    shop.begun(held)
    ids = [shop.send("note") for _ in range(30)]
    until(lambda: broker.size("celery") > len(ids) // 2, "the worker has given back what it cannot take")
    forget(shop, broker)
    shop.make("open")
    finished_once(shop, [held, *ids])
    assert worker.is_running


def test_sending_does_not_wait_for_a_broker_that_is_away(shop: Shop, broker: BrokerServer):
    shop.wait([shop.send("note")], State.PENDING)
    worker = shop.worker()
    broker.kill()
    ids = [shop.send("note") for _ in range(50)]  # Celery alone would raise; how long it takes: benchmarks.outages
    broker.start()
    finished_once(shop, ids)
    assert worker.is_running


def test_a_ledger_that_is_away_for_a_while_holds_up_and_loses_nothing(shop: Shop, postgresql_server):
    shop.worker()
    ids = [shop.send("spin", 0.05) for _ in range(40)]
    until(lambda: shop.effects(what="end"), "some are done")
    shop.ledger.connection.close()
    postgresql_server.restart()
    shop.ledger.connection = shop.ledger.source.open()
    shop.wait(ids, State.SUCCEEDED)
    assert shop.effects(what="overlap") == []


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_long_task_runs_once_whatever_the_broker_s_patience(
    request: pytest.FixtureRequest, kind: str, postgresql_url: str, tmp_path
):
    conf = {"broker_transport_options": {"visibility_timeout": 2, "unacked_restore_interval": 1}}
    if kind == "redis":
        server = request.getfixturevalue("redis")
    else:
        server = RabbitServer()
        # It looks once a minute otherwise.
        server.configure("consumer_timeout = 3000\n", "[{rabbit, [{channel_tick_interval, 1000}]}].\n")
        server.start()
        conf = {}
    try:
        with Shop(tmp_path / "shop", postgresql_url, broker=server, delivery="broker", conf=conf) as shop:
            shop.worker("w1", concurrency=1)
            id = shop.send("spin", 7.0)
            shop.begun(id)
            others = [shop.send("note") for _ in range(10)]  # they wait behind it, unacknowledged in no worker
            shop.wait(id, State.SUCCEEDED)
            shop.worker("w2", concurrency=1)
            shop.wait(others, State.SUCCEEDED)
            assert [shop.runs(one) for one in (id, *others)] == [1] * 11
            assert "PRECONDITION" not in shop.logs()
    finally:
        if kind == "rabbitmq":
            server.remove()


def test_a_worker_without_a_broker_waits_for_it_and_then_works(shop: Shop, broker: BrokerServer):
    broker.kill()
    ids = [shop.send("note") for _ in range(5)]
    worker: Process = shop.worker(is_awaited=False).says("Cannot connect to")
    broker.start()
    worker.says(" ready.")
    finished_once(shop, ids)
