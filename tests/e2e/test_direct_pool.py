"""The direct pool keeps prefork's promises, and no row waits behind a slow one."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workers import DEADLINE_S, Shop, until

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        yield shop


def quick(shop: Shop, count: int = 200) -> list[str]:
    """Let the pool learn that tasks are quick, so that it gives its processes several at once."""
    ids = [shop.send("add", n, 1) for n in range(count)]
    shop.wait(ids, "succeeded")
    return ids


def inspect(shop: Shop) -> Any:
    return shop.app.control.inspect(limit=1, timeout=DEADLINE_S)


@pytest.mark.parametrize("is_frozen", [False, True], ids=["busy", "frozen"])
def test_rows_behind_a_slow_task_run_in_another_process(shop: Shop, is_frozen: bool) -> None:
    worker = shop.worker(pool="mirepoix", concurrency=2)
    quick(shop)
    slow = shop.send("gate", "open", priority=9)
    quick_ones = [shop.send("add", n, 2) for n in range(100)]
    shop.begun(slow)
    (begun,) = shop.effects(slow, "begin")
    if is_frozen:
        os.kill(begun.pid, signal.SIGSTOP)
    shop.wait([*quick_ones, *(shop.send("add", n, 3) for n in range(100))], "succeeded")
    assert begun.pid in worker.children()
    if is_frozen:
        os.kill(begun.pid, signal.SIGCONT)
    shop.make("open")
    shop.wait(slow, "succeeded")
    assert [shop.runs(id) for id in (slow, *quick_ones)] == [1] * 101


def test_rows_behind_a_slow_task_run_in_another_worker(shop: Shop) -> None:
    shop.worker("w1", pool="mirepoix", concurrency=1)
    quick(shop)
    slow = shop.send("gate", "open")
    behind = [shop.send("add", n, 2) for n in range(50)]
    shop.begun(slow)
    shop.worker("w2", pool="mirepoix", concurrency=1)
    shop.wait([id for id in behind if shop.state(id) != "succeeded"], "succeeded")
    shop.make("open")
    shop.wait(slow, "succeeded")
    assert {shop.row(id)["deaths"] + shop.row(id)["handovers"] for id in (slow, *behind)} == {0}


def test_a_backlog_of_quick_tasks_is_not_hoarded(shop: Shop) -> None:
    """A worker leases ahead what it runs in 0.1 s, at most 500, and at most 500 successes wait to be recorded."""
    for n in range(4_000):
        shop.send("add", n, 1)
    shop.worker(pool="mirepoix", concurrency=2)
    most = 0

    def is_over() -> bool:
        nonlocal most
        states = Counter(shop.ledger.states().values())
        most = max(most, states["leased"] + states["running"])
        return states["succeeded"] == 4_000

    until(is_over, "all are done")
    assert 2 < most <= 1_002


def test_a_process_that_is_frozen_while_it_is_idle_keeps_nothing_and_is_used_again(shop: Shop) -> None:
    worker = shop.worker(pool="mirepoix", concurrency=2)
    quick(shop)
    frozen, other = worker.children()
    os.kill(frozen, signal.SIGSTOP)
    ids = quick(shop, 50)
    assert {shop.effects(id, "begin")[0].pid for id in ids} == {other}
    os.kill(frozen, signal.SIGCONT)
    gates = [shop.send("gate", "open") for _ in range(2)]
    for id in gates:
        shop.begun(id)
    shop.make("open")
    shop.wait(gates, "succeeded")
    assert {shop.effects(id, "begin")[0].pid for id in gates} == {frozen, other}


def test_a_death_is_blamed_on_what_ran_and_on_nothing_that_waited_behind_it(shop: Shop) -> None:
    shop.worker(pool="mirepoix", concurrency=1, max_deaths=2)
    quick(shop)
    behind = [shop.send("add", n, 2) for n in range(20)]
    guilty = shop.send("die")
    behind += [shop.send("add", n, 3) for n in range(20)]
    shop.wait(guilty, "quarantined")
    shop.wait(behind, "succeeded")
    assert shop.row(guilty)["deaths"] == 2
    assert {shop.row(id)["deaths"] + shop.row(id)["handovers"] for id in behind} == {0}
    assert [shop.runs(id) for id in behind] == [1] * len(behind)


def test_remote_control_sees_what_runs_and_what_waits_and_ends_one_task(shop: Shop) -> None:
    worker = shop.worker(pool="mirepoix", concurrency=2)
    quick(shop)
    ended, kept = shop.send("gate", "never"), shop.send("gate", "open")
    shop.begun(ended)
    shop.begun(kept)
    (active,) = inspect(shop).active().values()
    assert {task["id"] for task in active} == {ended, kept}
    assert {task["worker_pid"] for task in active} <= set(worker.children())
    ((state, shown),) = inspect(shop).query_task(ended)["w1@test"].values()
    assert (state, shown["name"]) == ("active", "shop.gate")
    shop.app.control.revoke(ended, terminate=True, signal="SIGKILL")
    shop.wait(ended, "cancelled")
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert (shop.row(kept)["deaths"], shop.runs(kept)) == (0, 1)
    (stats,) = inspect(shop).stats().values()
    assert stats["total"]["shop.add"] == 200
    assert len(stats["pool"]["processes"]) == stats["pool"]["max-concurrency"] == 2


def test_a_process_makes_way_after_its_share_of_tasks(shop: Shop) -> None:
    shop.worker("w1", "--max-tasks-per-child", "7", pool="mirepoix", concurrency=1)
    ids = quick(shop, 70)
    pids = [shop.effects(id, "begin")[0].pid for id in ids]
    assert max(pids.count(pid) for pid in pids) == 7
    assert {shop.row(id)["deaths"] for id in ids} == {0}


def test_a_process_makes_way_when_it_uses_too_much_memory(shop: Shop) -> None:
    worker = shop.worker("w1", "--max-memory-per-child", "150000", pool="mirepoix", concurrency=1)
    before, large, after = shop.send("add", 1, 1), shop.send("eat", 200), shop.send("add", 1, 2)
    shop.wait([before, large, after], "succeeded")
    pids = [shop.effects(id, "begin")[0].pid for id in (before, large, after)]
    assert pids[0] == pids[1] != pids[2]
    worker.says("worker_max_memory_per_child")


def test_the_pool_grows_shrinks_and_is_restarted_on_demand(shop: Shop) -> None:
    worker = shop.worker(pool="mirepoix", concurrency=1, conf={"worker_pool_restarts": True})
    (first,) = worker.children()
    control = {"reply": True, "limit": 1, "timeout": DEADLINE_S}
    shop.app.control.pool_grow(2, **control)
    until(lambda: len(worker.children()) == 3, "it has three processes")
    gates = [shop.send("gate", "open") for _ in range(3)]
    for id in gates:
        shop.begun(id)
    (answer,) = shop.app.control.pool_shrink(1, **control)
    assert "busy" in str(answer)
    shop.make("open")
    shop.wait(gates, "succeeded")
    shop.app.control.pool_shrink(2, **control)
    until(lambda: len(worker.children()) == 1, "it has one process")
    shop.app.control.pool_restart(**control)
    until(lambda: len(worker.children()) == 1 and first not in worker.children(), "its process is another")
    shop.wait(shop.send("add", 1, 1), "succeeded")


def test_it_scales_with_what_there_is_to_do(shop: Shop) -> None:
    worker = shop.worker("w1", "--autoscale", "3,1", pool="mirepoix", concurrency=1)
    gates = [shop.send("gate", "open") for _ in range(3)]
    for id in gates:
        shop.begun(id)
    assert len(worker.children()) == 3
    shop.make("open")
    shop.wait(gates, "succeeded")


def test_a_process_that_cannot_start_is_replaced_at_a_pace(shop: Shop) -> None:
    with (shop.folder / "shop.py").open("a") as module:
        module.write(
            "\nfrom celery.signals import worker_process_init\n"
            "@worker_process_init.connect(weak=False)\n"
            "def refuse(**_):\n"
            "    if (FOLDER / 'may not start').exists():\n"
            "        os._exit(7)\n"
        )
    worker = shop.worker(pool="mirepoix", concurrency=1)
    shop.make("may not start")
    (first,) = worker.children()
    os.kill(first, signal.SIGKILL)
    worker.says("died before it was ready (exitcode 7)")
    id = shop.send("add", 1, 1)
    (shop.folder / "may not start").unlink()
    shop.wait(id, "succeeded")


def test_events_and_receivers_get_what_they_get_from_prefork(shop: Shop) -> None:
    with (shop.folder / "shop.py").open("a") as module:
        module.write(
            "\nfrom celery import signals\n"
            "def hear(what):\n"
            "    def heard(sender=None, request=None, task_id=None, **_):\n"
            "        print(' '.join(['heard', what, task_id or getattr(request, 'id', '')]), flush=True)\n"
            "    getattr(signals, what).connect(heard, weak=False)\n"
            "for what in ('task_received', 'task_prerun', 'task_postrun', 'task_success', 'worker_process_init'):\n"
            "    hear(what)\n"
        )
    worker = shop.worker("w1", "-E", pool="mirepoix", concurrency=1)
    id = shop.send("add", 1, 1)
    shop.wait(id, "succeeded")
    for what in ("task_received", "task_prerun", "task_postrun"):
        worker.says(f"heard {what} {id}")
    worker.says("heard task_success")
    worker.says("heard worker_process_init")


def test_a_rate_limit_holds(shop: Shop) -> None:
    shop.worker(pool="mirepoix", concurrency=2)
    shop.wait(shop.send("add", 0, 0), "succeeded")
    shop.app.control.rate_limit("shop.add", "2/s", reply=True, limit=1, timeout=DEADLINE_S)
    ids = [shop.send("add", n, 1) for n in range(5)]
    shop.wait(ids, "succeeded")
    began = sorted(shop.effects(id, "begin")[0].at for id in ids)
    assert began[-1] - began[0] > 1.5


def test_it_refuses_what_it_cannot_serve(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "stock.py").write_text("from celery import Celery\napp = Celery('stock', broker='memory://')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    told = shop.start("stock", "-m", "celery", "-A", "stock", "worker", "-P", "mirepoix", env=env).ends()
    assert told.exit_code != 0
    assert "needs mirepoix.install(app)" in told.said
