"""Tasks that are coroutines, cut short: by time limits, revocation and death."""

from __future__ import annotations

import os
import signal

import pytest
from workers import FORKING, Shop, until

pytestmark = pytest.mark.slow


def send(shop: Shop, name: str, *args: object, **options: object) -> str:
    return shop.app.send_task(f"async.{name}", args=args, **options).id


@pytest.mark.parametrize("pool", FORKING)
def test_the_soft_time_limit_cancels_a_coroutine_that_waits(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool, concurrency=1)
    id = send(shop, "gate", "never", soft_time_limit=1)
    shop.wait(id, "failed")
    (attempt,) = shop.ledger.attempts(id)
    assert attempt["error_type"].endswith(".SoftTimeLimitExceeded")
    assert "wait_for" in attempt["traceback"]
    assert len(shop.effects(id, "cleaned up")) == 1
    assert 0.9 < attempt["run_time_s"] < 3
    after = send(shop, "note")
    shop.wait(after, "succeeded")
    assert shop.effects(after, "begin")[0].pid == shop.effects(id, "begin")[0].pid


@pytest.mark.parametrize("pool", FORKING)
def test_the_soft_time_limit_is_raised_in_a_coroutine_that_does_not_wait(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool, concurrency=1)
    id = send(shop, "hog", soft_time_limit=1)
    shop.wait(id, "failed")
    assert len(shop.effects(id, "soft limit")) == 1
    assert shop.ledger.attempts(id)[0]["error_type"].endswith(".SoftTimeLimitExceeded")


@pytest.mark.parametrize("pool", FORKING)
def test_the_hard_time_limit_is_a_failure_of_an_async_task(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool, concurrency=1)
    id = send(shop, "gate", "never", time_limit=1)
    shop.wait(id, "failed")
    assert "TimeLimitExceeded" in shop.ledger.attempts(id)[0]["error_type"]
    assert shop.runs(id) == 1
    shop.wait(send(shop, "note"), "succeeded")


def test_the_time_limit_of_gevent_cancels_the_coroutine(shop: Shop) -> None:
    shop.worker(pool="gevent", conf={"task_time_limit": 1})
    id = send(shop, "gate", "never")
    shop.wait(id, "failed")
    assert "TimeLimitExceeded" in shop.ledger.attempts(id)[0]["error_type"]
    assert len(shop.effects(id, "cleaned up")) == 1
    shop.wait(send(shop, "note"), "succeeded")


@pytest.mark.parametrize("pool", ["prefork", "mirepoix-asyncio", "gevent"])
def test_an_async_task_that_is_terminated_is_revoked(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool)
    id = send(shop, "gate", "never")
    shop.begun(id)
    shop.app.control.revoke(id, terminate=True)
    shop.wait(id, "cancelled")
    if pool != "prefork":
        until(lambda: shop.effects(id, "cleaned up"), "the coroutine was cancelled")
    shop.wait(send(shop, "note"), "succeeded")
    assert shop.runs(id) == 1


@pytest.mark.parametrize("pool", FORKING)
def test_an_async_task_whose_process_was_killed_runs_again(shop: Shop, pool: str) -> None:
    worker = shop.worker(pool=pool)
    id = send(shop, "gate", "open")
    shop.begun(id)
    until(lambda: shop.state(id) == "running", "the ledger knows that it runs")
    os.kill(shop.effects(id, "begin")[0].pid, signal.SIGKILL)
    shop.begun(id, 2)
    shop.make("open")
    shop.wait(id, "succeeded")
    first, second = shop.effects(id, "begin")
    assert (shop.row(id)["deaths"], shop.ledger.attempts(id)[0]["outcome"]) == (1, "killed")
    assert first.pid != second.pid
    assert shop.effects(what="overlap") == []
    assert worker.is_running


@pytest.mark.parametrize("pool", ["mirepoix-asyncio", "threads", "gevent"])
def test_async_tasks_of_one_process_run_side_by_side(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool, concurrency=24)
    ids = [send(shop, "gate", "open") for _ in range(24)]
    for id in ids:
        shop.begun(id)
    shop.make("open")
    shop.wait(ids, "succeeded")
    assert len({effect.pid for effect in shop.effects(what="begin")}) == 1


@pytest.mark.parametrize("pool", ["prefork", "mirepoix-asyncio", "solo", "threads"])
def test_an_engine_of_the_whole_process_outlives_a_task(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool, concurrency=1)
    ids = [send(shop, "query") for _ in range(3)]
    shop.wait(ids, "succeeded")
    told = shop.effects(what="connected")
    assert len({effect.pid for effect in told}) == 1
    if shop.url.startswith("postgresql"):  # SQLite's pool opens a connection for each use
        assert len({effect.more["connection"] for effect in told}) == 1
