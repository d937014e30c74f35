"""Workers are stopped: what has not begun goes back at once, what runs ends or goes back, and nobody is blamed."""

from __future__ import annotations

import signal

import pytest
from workers import POOLS, Process, Shop, until

from pace import pace

pytestmark = pytest.mark.slow
AHEAD = {"worker_prefetch_multiplier": 4}
INTERRUPTED = """
import os, signal
from mirepoix import installation_of
from mirepoix.ledger import messages, workers

broadcasts = messages.broadcasts

def broadcasts_and_a_signal(tx, *args):
    arrived = broadcasts(tx, *args)
    try:
        os.unlink(str(FOLDER / "now"))
    except FileNotFoundError:
        return arrived
    # Which locks a row that its maintenance needs.
    workers.heartbeat(tx, installation_of(app).worker.leases.worker.id, 1000.0)
    signal.raise_signal(signal.SIGQUIT)
    return arrived

messages.broadcasts = broadcasts_and_a_signal
"""
"""The main thread of this worker is told to stop in the middle of a transaction of its own."""


def loaded(shop: Shop, pool: str = "prefork", **conf: float) -> tuple[Process, str, list[str]]:
    """A worker that runs one task and holds three more."""
    running = shop.send("gate", "open", priority=9)
    worker = shop.worker("stopping", pool=pool, concurrency=1, conf={**AHEAD, **conf})
    shop.begun(running)
    waiting = [shop.send("note") for _ in range(3)]
    if pool != "gevent":  # it has no event loop that a full pool would not block: it takes no more than it can run
        shop.wait(waiting, "leased")
    return worker, running, waiting


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_warm_shutdown_hands_back_what_has_not_begun(shop: Shop, pool: str) -> None:
    worker, running, waiting = loaded(shop, pool)
    worker.send(signal.SIGTERM)
    shop.wait(waiting, "pending")
    assert worker.is_running
    assert shop.state(running) in ("leased", "running")
    shop.make("open")
    assert worker.ends().exit_code == 0
    assert shop.state(running) == "succeeded"
    shop.worker("next")
    shop.wait(waiting, "succeeded")
    assert shop.ledger.query("SELECT DISTINCT deaths, handovers FROM mirepoix_task") == [(0, 0)]
    assert [shop.runs(id) for id in (running, *waiting)] == [1] * 4


def test_a_cold_shutdown_hands_back_what_runs_when_its_pool_is_dead(shop: Shop) -> None:
    worker, running, waiting = loaded(shop)
    shop.worker("next")
    worker.send(signal.SIGQUIT).ends()
    shop.begun(running, 2)
    shop.make("open")
    shop.wait([running, *waiting], "succeeded")
    assert [(a["outcome"], a["error"]) for a in shop.ledger.attempts(running)] == [
        ("returned", "its worker was stopped")
    ]
    assert shop.row(running)["deaths"] == 0
    assert shop.effects(what="overlap") == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_takes_longer_than_a_deploy_waits_is_not_to_blame(shop: Shop, pool: str) -> None:
    worker = shop.worker("old", pool=pool, concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    until(lambda: shop.state(id) == "running", "the ledger knows that it runs")
    worker.send(signal.SIGTERM)
    stopping = "SELECT count(*) FROM mirepoix_worker WHERE stopping_at IS NOT NULL"
    until(lambda: shop.ledger.query(stopping) == [(1,)], "the ledger knows that it is to stop")
    worker.remove()
    shop.worker("new", pool=pool, concurrency=1)
    shop.begun(id, 2)
    shop.make("open")
    shop.wait(id, "succeeded")
    row = shop.row(id)
    assert (row["deaths"], row["handovers"], row["is_suspect"]) == (0, 1, 0)
    assert "it was asked to stop, so nobody is blamed" in shop.ledger.attempts(id)[0]["error"]


def test_a_soft_shutdown_lets_tasks_end_within_its_timeout(shop: Shop) -> None:
    worker, running, waiting = loaded(shop, worker_soft_shutdown_timeout=3.0 * pace())
    worker.send(signal.SIGQUIT)
    shop.wait(waiting, "pending")
    assert worker.is_running  # not only when the timeout is over, which Celery always waits out
    shop.make("open")
    worker.ends()
    assert (shop.state(running), shop.runs(running)) == ("succeeded", 1)


def test_a_soft_shutdown_hands_back_what_did_not_end_in_time(shop: Shop) -> None:
    worker, running, waiting = loaded(shop, worker_soft_shutdown_timeout=1.0)
    shop.worker("next")
    worker.send(signal.SIGQUIT).ends()
    shop.begun(running, 2)
    shop.make("open")
    shop.wait([running, *waiting], "succeeded")
    assert [(a["outcome"], a["error"]) for a in shop.ledger.attempts(running)] == [
        ("returned", "its worker was stopped")
    ]
    assert shop.row(running)["deaths"] == 0
    assert shop.effects(what="overlap") == []


def test_a_worker_that_is_told_to_stop_inside_its_own_transaction_ends_that_first(shop: Shop) -> None:
    with (shop.folder / "shop.py").open("a") as module:
        module.write(INTERRUPTED)
    worker, running, waiting = loaded(shop, worker_soft_shutdown_timeout=3.0 * pace())
    shop.make("now")
    shop.wait(waiting, "pending")
    assert worker.is_running
    shop.make("open")
    worker.ends()
    assert (shop.state(running), shop.runs(running)) == ("succeeded", 1)
