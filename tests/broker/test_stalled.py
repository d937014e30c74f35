"""A worker that is connected and receives nothing is found; a busy worker is not taken for stalled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from workers import Process, Shop, until

from brokers import BrokerServer
from mirepoix.states import State

pytestmark = pytest.mark.slow

PROBE_S = 0.8
MANY = 10
"""So many probes, two at a time, are twice what a worker may miss."""

STALL = """
from celery.worker.control import control_command

@control_command()
def stall(state):
    consumer = state.consumer.task_consumer
    for tag in consumer._active_tags.values():
        consumer.channel.basic_cancel(tag)  # behind Celery's back, as a broker may do it
"""


@pytest.fixture
def shop(broker: BrokerServer, postgresql_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose workers are probed about every second, and end if they find that they are stalled."""
    settings = {"delivery": "broker", "probe_interval_s": PROBE_S, "stalled_worker": "exit"}
    with Shop(tmp_path / "shop", postgresql_url, broker=broker, **settings) as shop:
        with (shop.folder / "shop.py").open("a") as module:
            module.write(STALL)
        yield shop


def health(shop: Shop) -> tuple[int, str]:
    """What ``mirepoix health`` says of the listeners, and its exit code."""
    ended = shop.celery("mirepoix", "health")
    (line,) = [line for line in ended.stdout.splitlines() if " listeners: " in line]
    return ended.returncode, line


def is_probed(shop: Shop) -> None:
    until(lambda: shop.ledger.query("SELECT 1 FROM mirepoix_queue WHERE probed_at IS NOT NULL"), "probes are sent")


def hears_again(shop: Shop, worker: Process) -> None:
    """It takes the probes that waited, and a task."""
    shop.wait(shop.send("note"), State.SUCCEEDED)
    until(lambda: shop.broker.size("celery") == 0, "the probes that waited are taken")
    assert worker.is_running, worker.said


def test_probes_are_heard_and_are_no_tasks(shop: Shop):
    worker = shop.worker()
    is_probed(shop)
    hears_again(shop, worker)
    assert len(shop.ledger.states()) == 1
    assert health(shop) == (0, "ok   listeners: every live worker receives messages")


def test_a_stalled_worker_says_so_and_health_names_it(shop: Shop):
    worker = shop.worker("w1", stalled_worker="report")
    is_probed(shop)
    shop.app.control.broadcast("stall")
    worker.says("received nothing for")
    code, line = health(shop)
    assert code == 1
    assert line.startswith("FAIL listeners: connected to the broker, and receiving nothing: w1@test for ")
    assert worker.is_running


def test_a_stalled_worker_ends_if_it_is_told_to_and_the_next_one_does_its_tasks(shop: Shop):
    worker = shop.worker("w1")
    is_probed(shop)
    shop.app.control.broadcast("stall")
    assert worker.ends().exit_code == 1
    assert "received nothing for" in worker.said
    id = shop.send("note")
    shop.worker("w2")
    shop.wait(id, State.SUCCEEDED)


def until_probed_often(shop: Shop, others: int = 0) -> None:
    until(lambda: shop.broker.size("celery") >= others + MANY, f"{MANY} probes wait")


def is_well(shop: Shop, worker: Process) -> None:
    assert health(shop)[1] == "ok   listeners: every live worker receives messages"
    assert worker.is_running, worker.said
    assert "received nothing" not in worker.said


@pytest.mark.parametrize("whose", ["ours", "foreign"])
def test_a_worker_that_runs_one_long_task_in_its_only_thread_is_not_deaf(shop: Shop, whose: str):
    worker = shop.worker(pool="solo", concurrency=1)
    is_probed(shop)
    id = shop.send("gate", "open") if whose == "ours" else foreign(shop, 1)[0]
    shop.begun(id)
    until_probed_often(shop)
    is_well(shop, worker)
    shop.make("open")
    hears_again(shop, worker)
    assert shop.runs(id) == 1


def foreign(shop: Shop, count: int) -> list[str]:
    """Send long tasks past the ledger."""
    with Celery("stock", set_as_current=False, broker=shop.broker.url) as stock:
        return [stock.send_task("shop.gate", ("open",), ignore_result=True).id for _ in range(count)]


def test_a_worker_whose_places_are_all_taken_by_tasks_of_others_is_not_deaf(shop: Shop):
    worker = shop.worker("w1", "--prefetch-multiplier", "1", concurrency=2)
    is_probed(shop)
    ids = foreign(shop, 6)
    until(lambda: len(shop.effects(what="begin")) == 2, "two of them run")
    until_probed_often(shop, others=2)
    is_well(shop, worker)
    shop.make("open")
    until(lambda: len(shop.effects(what="end")) == 6, "all of them ran")
    hears_again(shop, worker)
    assert [shop.runs(id) for id in ids] == [1] * 6


def test_a_worker_whose_places_are_all_taken_by_tasks_of_the_ledger_is_not_deaf(shop: Shop):
    worker = shop.worker("w1", "--prefetch-multiplier", "1", concurrency=1)
    is_probed(shop)
    ids = [shop.send("gate", "open") for _ in range(10)]
    shop.begun(ids[0])
    until_probed_often(shop)
    is_well(shop, worker)
    shop.make("open")
    shop.wait(ids, State.SUCCEEDED)
    hears_again(shop, worker)


def test_a_worker_that_is_cut_off_from_the_broker_is_not_deaf(shop: Shop, broker: BrokerServer):
    shop.start("relay", "-m", "celery", "-A", "shop", "mirepoix", "relay")
    # The relay finds the broker sooner than this worker does, and sends probes.
    worker = shop.worker(broker_retry_s=6.0)
    is_probed(shop)
    broker.kill()
    until(lambda: worker.said.count("Cannot connect to") >= 2, "it has tried again")
    broker.start()
    hears_again(shop, worker)
    is_well(shop, worker)
