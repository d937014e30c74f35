"""The asyncio pool runs coroutines side by side, and keeps prefork's promises for each of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from workers import DEADLINE_S, Process, Shop, until

from mirepoix.celery import stacks
from pace import pace

pytestmark = pytest.mark.slow

POOL = "mirepoix-asyncio"


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        yield shop


def send(shop: Shop, name: str, *args: object, **options: object) -> str:
    return shop.app.send_task(f"async.{name}", args=args, **options).id


def worker(shop: Shop, *args: str, concurrency: int = 10, **options: Any) -> Process:
    return shop.worker(*args, pool=POOL, concurrency=concurrency, **options)


def waits_in_thread(shop: Shop, id: str) -> bool:
    """Whether its coroutine has come to the await of a thread: the loop itself shows where it stands."""
    shown = stacks.ask(shop.app, "w1@test", id, DEADLINE_S)
    return "in to_thread" in shown.text


def inspect(shop: Shop) -> Any:
    return shop.app.control.inspect(limit=1, timeout=DEADLINE_S)


def test_coroutines_run_side_by_side_in_one_loop_and_never_more_than_it_may(shop: Shop) -> None:
    running = worker(shop, concurrency=10)
    ids = [send(shop, "gate", "open") for _ in range(25)]
    until(lambda: len(shop.effects(what="begin")) == 10, "ten have begun")
    shop.make("open")
    shop.wait(ids, "succeeded")
    begun = at_most = 0
    for effect in sorted(shop.effects(), key=lambda effect: effect.at):
        begun += {"begin": 1, "end": -1}.get(effect.what, 0)
        at_most = max(at_most, begun)
    assert at_most == 10
    assert {effect.pid for effect in shop.effects()} == set(running.children())
    assert {shop.runs(id) for id in ids} == {1}


def test_each_coroutine_has_the_context_of_its_own_task(shop: Shop) -> None:
    worker(shop, concurrency=20)
    ids = [send(shop, "wait", 0.01 * n) for n in range(20)]
    shop.wait(ids, "succeeded")
    for id in ids:
        assert shop.effects(id, "seen")[0].more["ids"] == [id, id]


def test_a_retry_a_failure_and_a_chain_are_recorded_while_others_run(shop: Shop) -> None:
    worker(shop)
    gate = send(shop, "gate", "open")
    failed, again, parent = send(shop, "fail", "no"), send(shop, "again", 2), send(shop, "parent", "child-1", "child-2")
    chained = (shop.app.signature("async.add", (1, 2)) | shop.app.signature("async.add", (3,))).apply_async()
    shop.wait(failed, "failed")
    shop.wait([again, parent, chained.id, "child-1", "child-2"], "succeeded")
    assert (shop.runs(again), shop.runs(gate)) == (3, 1)
    assert shop.effects(gate, "end") == []
    assert chained.get(timeout=DEADLINE_S) == 6
    shop.make("open")
    shop.wait(gate, "succeeded")


def test_steps_of_coroutines_are_done_once(shop: Shop) -> None:
    worker(shop)
    ids = [send(shop, "pay", 2) for _ in range(5)]
    shop.wait(ids, "succeeded")
    for id in ids:
        assert len(shop.effects(id, "charge")) == 3
        assert shop.runs(id) == 3


def test_a_soft_limit_cancels_the_coroutine_it_is_for_and_no_other(shop: Shop) -> None:
    worker(shop)
    kept = [send(shop, "gate", "open") for _ in range(5)]
    limited = [send(shop, "gate", "never", soft_time_limit=1) for _ in range(3)]
    shop.wait(limited, "failed")
    for id in limited:
        assert shop.ledger.attempts(id)[0]["error_type"].endswith(".SoftTimeLimitExceeded")
        assert len(shop.effects(id, "cleaned up")) == 1
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert {shop.runs(id) for id in kept} == {1}
    assert len({effect.pid for effect in shop.effects()}) == 1


def test_a_hard_limit_blames_one_task_and_its_neighbours_run_again(shop: Shop) -> None:
    worker(shop)
    kept = [send(shop, "gate", "open") for _ in range(5)]
    for id in kept:
        shop.begun(id)
    limited = send(shop, "gate", "never", time_limit=1)
    shop.wait(limited, "failed")
    for id in kept:
        shop.begun(id, 2)
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert "TimeLimitExceeded" in shop.ledger.attempts(limited)[0]["error_type"]
    assert {(shop.row(id)["deaths"], shop.row(id)["handovers"]) for id in kept} == {(0, 1)}
    assert all("because of async.gate" in shop.ledger.attempts(id)[0]["error"] for id in kept)
    assert shop.effects(what="overlap") == []


@pytest.mark.parametrize("where", ["here", "in a task"])
def test_what_kills_its_process_is_blamed_and_its_neighbours_are_not(shop: Shop, where: str) -> None:
    worker(shop, max_deaths=2)
    kept = [send(shop, "gate", "open") for _ in range(5)]
    for id in kept:
        shop.begun(id)
    shop.make("now")
    guilty = send(shop, "die", where, "now")
    shop.wait(guilty, "quarantined")
    for id in kept:
        shop.begun(id, 2)
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert shop.row(guilty)["deaths"] == 2
    assert {shop.row(id)["deaths"] for id in kept} == {0}
    assert all(1 <= shop.row(id)["handovers"] <= 2 for id in kept)
    assert shop.effects(what="overlap") == []


def test_a_process_that_was_killed_from_outside_makes_no_suspects(shop: Shop) -> None:
    running = worker(shop)
    ids = [send(shop, "idle", "open") for _ in range(5)]
    for times in range(1, 5):
        for id in ids:
            shop.begun(id, times)
        (pid,) = running.children()
        for id in ids:
            until(partial(waits_in_thread, shop, id), "it waits")
        os.kill(pid, signal.SIGKILL)
    shop.make("open")
    shop.wait(ids, "succeeded")
    assert {(shop.row(id)["deaths"], shop.row(id)["is_suspect"]) for id in ids} == {(0, 0)}
    assert shop.effects(what="overlap") == []


def test_terminating_a_task_cancels_its_coroutine_alone(shop: Shop) -> None:
    worker(shop)
    ended, kept = send(shop, "gate", "never"), send(shop, "gate", "open")
    shop.begun(ended)
    shop.begun(kept)
    ((state, shown),) = inspect(shop).query_task(ended)["w1@test"].values()
    assert (state, shown["name"]) == ("active", "async.gate")
    (active,) = inspect(shop).active().values()
    assert {task["id"] for task in active} == {ended, kept}
    shop.app.control.revoke(ended, terminate=True, signal="SIGKILL")
    shop.wait(ended, "cancelled")
    until(lambda: shop.effects(ended, "cleaned up"), "its coroutine is cancelled")
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert (shop.row(kept)["handovers"], shop.runs(kept)) == (0, 1)
    assert len({effect.pid for effect in shop.effects()}) == 1
    (stats,) = inspect(shop).stats().values()
    assert (len(stats["pool"]["processes"]), stats["pool"]["max-concurrency"]) == (1, 10)


def test_a_blocked_loop_is_told_with_its_task_and_line_and_is_replaced(shop: Shop) -> None:
    running = worker(shop, max_deaths=2, asyncio_blocked_report_s=0.3, asyncio_blocked_limit_s=1.0)
    kept = [send(shop, "gate", "open") for _ in range(3)]
    for id in kept:
        shop.begun(id)
    guilty = send(shop, "block", "never")
    shop.wait(guilty, "quarantined")
    running.says(f"s by async.block[{guilty}]")
    running.says("in wait_for")
    (stats,) = inspect(shop).stats().values()
    assert stats["pool"]["blocked-loops"] == 2
    assert "its event loop was blocked" in shop.ledger.attempts(guilty)[0]["error"]
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert {shop.row(id)["deaths"] for id in kept} == {0}


def test_rows_that_a_blocked_process_has_not_begun_run_in_another(shop: Shop) -> None:
    running = worker(shop, concurrency=5, asyncio_processes=2)
    assert len(running.children()) == 2
    blocking = send(shop, "block", "open")
    shop.begun(blocking)
    ids = [send(shop, "add", n, 1) for n in range(20)]
    shop.wait(ids, "succeeded")
    shop.make("open")
    shop.wait(blocking, "succeeded")
    assert {shop.effects(id, "begin")[0].pid for id in ids}.isdisjoint({shop.effects(blocking)[0].pid})
    assert {shop.row(id)["handovers"] for id in ids} == {0}


def test_plain_tasks_run_in_threads_or_are_refused_as_a_setting_says(shop: Shop) -> None:
    worker(shop)
    gate, coroutine = shop.send("gate", "open"), send(shop, "gate", "open")
    shop.begun(gate)
    shop.begun(coroutine)
    shop.make("open")
    shop.wait([gate, coroutine], "succeeded")
    assert len({effect.pid for effect in shop.effects()}) == 1


def test_plain_tasks_are_refused_where_a_setting_says_so(shop: Shop) -> None:
    worker(shop, asyncio_sync_tasks="refuse")
    refused, taken = shop.send("note"), send(shop, "note")
    shop.wait(refused, "parked")
    shop.wait(taken, "succeeded")
    assert "mirepoix_asyncio_sync_tasks" in shop.row(refused)["reason"]
    assert shop.runs(refused) == 0


@pytest.mark.parametrize("how", ["warm", "soft"])
def test_a_shutdown_waits_for_what_runs(shop: Shop, how: str) -> None:
    stopped = worker(shop, conf={"worker_soft_shutdown_timeout": 3.0 * pace()} if how == "soft" else {})
    ids = [send(shop, "gate", "open") for _ in range(5)]
    for id in ids:
        shop.begun(id)
    stopped.send(signal.SIGQUIT if how == "soft" else signal.SIGTERM)
    stopped.says("Initiating Soft Shutdown" if how == "soft" else "Warm shutdown")
    shop.make("open")
    stopped.ends()
    assert {shop.state(id) for id in ids} == {"succeeded"}
    assert {(shop.row(id)["handovers"], shop.runs(id)) for id in ids} == {(0, 1)}


def test_a_cold_shutdown_gives_back_without_blame(shop: Shop) -> None:
    stopped = worker(shop)
    ids = [send(shop, "gate", "open") for _ in range(5)]
    for id in ids:
        shop.begun(id)
    stopped.send(signal.SIGQUIT).ends()
    shop.make("open")
    worker(shop, "w2")
    shop.wait(ids, "succeeded")
    assert {(shop.row(id)["deaths"], shop.runs(id)) for id in ids} == {(0, 2)}


def test_a_process_makes_way_when_it_uses_too_much_memory(shop: Shop) -> None:
    worker(shop, "w1", "--max-memory-per-child", "150000")
    kept = send(shop, "gate", "open")
    shop.begun(kept)
    shop.wait(shop.send("eat", 200), "succeeded")
    after = send(shop, "note")
    shop.wait(after, "succeeded")
    shop.make("open")
    shop.wait(kept, "succeeded")
    assert shop.effects(kept)[0].pid != shop.effects(after)[0].pid
    assert shop.runs(kept) == 1


def test_a_process_makes_way_after_its_share_of_tasks(shop: Shop) -> None:
    worker(shop, "w1", "--max-tasks-per-child", "7", concurrency=5)
    ids = [send(shop, "add", n, 1) for n in range(30)]
    shop.wait(ids, "succeeded")
    pids = [shop.effects(id, "begin")[0].pid for id in ids]
    assert max(pids.count(pid) for pid in pids) == 7
    lost = [attempt for id in ids for attempt in shop.ledger.attempts(id) if attempt["outcome"] != "succeeded"]
    assert [one["error"] for one in lost] == []
    assert {(shop.row(id)["deaths"], shop.row(id)["handovers"], shop.runs(id)) for id in ids} == {(0, 0, 1)}


def test_every_signal_of_celery_fires(shop: Shop) -> None:
    names = (
        *("task_received", "task_prerun", "task_postrun", "task_success", "task_failure", "task_retry", "task_revoked"),
        *("worker_process_init", "worker_process_shutdown"),
    )
    with (shop.folder / "shop.py").open("a") as module:
        module.write(
            "\nfrom celery import signals\n"
            "def hear(what):\n"
            "    def heard(sender=None, request=None, task_id=None, **_):\n"
            "        print(' '.join(['heard', what, task_id or getattr(request, 'id', None) or '']), flush=True)\n"
            "    getattr(signals, what).connect(heard, weak=False)\n"
            f"for what in {names!r}:\n"
            "    hear(what)\n"
        )
    running = worker(shop, "w1", "-E")
    good, bad, again, ended = (
        send(shop, "note"),
        send(shop, "fail", "no"),
        send(shop, "again", 1),
        send(shop, "gate", "x"),
    )
    shop.wait([good, again], "succeeded")
    shop.wait(bad, "failed")
    shop.begun(ended)
    shop.app.control.revoke(ended, terminate=True)
    shop.wait(ended, "cancelled")
    for what in ("task_received", "task_prerun", "task_postrun"):
        for id in (good, bad, again):
            running.says(f"heard {what} {id}")
    for what in ("task_success", f"task_failure {bad}", f"task_retry {again}", f"task_revoked {ended}"):
        running.says(f"heard {what}")
    running.says("heard worker_process_init")
    os.kill(running.pid, signal.SIGTERM)
    running.ends()
    running.says("heard worker_process_shutdown")


def test_it_refuses_what_it_cannot_serve(shop: Shop) -> None:
    scaled = shop.worker("w1", "--autoscale", "3,1", pool=POOL, is_awaited=False).ends()
    assert "fixed size" in scaled.said


def test_the_stack_of_a_coroutine_is_shown_and_that_of_a_blocked_loop(shop: Shop) -> None:
    running = worker(shop)
    waiting, parent = send(shop, "gate", "open"), send(shop, "gathered", "open")
    for id in (waiting, parent):
        shop.begun(id)
    shop.wait([waiting, parent], "running")
    found = stacks.ask(shop.app, "w1@test", waiting, DEADLINE_S)
    assert (found.trouble, found.pid) == ("", running.children()[0])
    assert re.search(r'asynchronous.py", line \d+ in wait_for\n.*asynchronous.py", line \d+ in async_gate', found.text)
    assert "Its asyncio task" in stacks.ask(shop.app, "w1@test", parent, DEADLINE_S).text
    blocking = send(shop, "block", "open")
    shop.begun(blocking)
    shop.wait(blocking, "running")
    assert "in async_block" in stacks.ask(shop.app, "w1@test", blocking, DEADLINE_S).text
    shop.make("open")
    shop.wait([waiting, parent, blocking], "succeeded")
