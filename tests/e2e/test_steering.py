"""Pausing a queue, a task's name and a worker: real workers obey, and nothing is lost, blamed or run twice."""

from __future__ import annotations

import pytest
from workers import POOLS, Shop, until

from mirepoix import control
from mirepoix.states import State

pytestmark = pytest.mark.slow

AHEAD = {"worker_prefetch_multiplier": 4}


def begun(shop: Shop) -> set[str]:
    """The tasks that have begun."""
    return {effect.id for effect in shop.effects(what="begin")}


def none_is_held(shop: Shop, *but: str) -> None:
    """Wait until no worker has a task except those."""
    held = (State.LEASED, State.RUNNING)
    until(
        lambda: all(state not in held for id, state in shop.ledger.states().items() if id not in but),
        "what was taken ahead went back",
    )


@pytest.mark.parametrize("pool", POOLS)
def test_a_paused_queue_gives_back_what_has_not_begun_and_goes_on_after_the_resume(shop: Shop, pool: str):
    first = shop.worker("w1", pool=pool, concurrency=1, conf=AHEAD)
    running = shop.send("gate", "open")
    shop.begun(running)
    behind = [shop.send("note") for _ in range(5)]
    assert control.pause(shop.app, queue="celery", by="ann", note="the bank is down")
    assert not control.pause(shop.app, queue="celery")
    first.says("now paused: queue 'celery'")
    none_is_held(shop, running)
    shop.worker("w2", pool=pool, concurrency=1)
    behind.append(shop.send("note"))
    elsewhere = shop.send("note", queue="other")
    shop.make("open")
    shop.wait(running, State.SUCCEEDED)
    none_is_held(shop)
    assert begun(shop) == {running}
    assert control.resume(shop.app, queue="celery")
    shop.wait(behind, State.SUCCEEDED)
    assert [shop.runs(id) for id in behind] == [1] * len(behind)
    assert [(row["deaths"], row["handovers"]) for row in map(shop.row, behind)] == [(0, 0)] * len(behind)
    assert shop.state(elsewhere) == State.PENDING  # nobody consumes it


def test_tasks_of_a_paused_name_are_held_while_others_run(shop: Shop):
    """Also those that are retried or come due, and in a worker that starts later."""
    control.pause(shop.app, task="shop.note")
    held = [shop.send("note") for _ in range(30)]
    held.append(shop.send("note", countdown=0.1))
    other = shop.send("add", 1, 2)
    shop.worker("w1", concurrency=1, conf=AHEAD)
    shop.wait(other, State.SUCCEEDED)
    until(lambda: all(shop.row(id)["held_by"] == "task shop.note" for id in held), "all are held")
    assert begun(shop) <= {other}
    assert [hold.value for hold in control.paused(shop.app)] == ["shop.note"]
    shop.app.control.revoke(held[0])
    control.resume(shop.app, task="shop.note")
    shop.wait(held[1:], State.SUCCEEDED)
    assert shop.state(held[0]) == State.CANCELLED
    assert [shop.runs(id) for id in held] == [0] + [1] * 30


def test_a_paused_worker_finishes_what_it_has_and_takes_nothing_more(shop: Shop):
    first = shop.worker("w1", concurrency=1, conf={"worker_prefetch_multiplier": 1})
    running = shop.send("gate", "open")
    shop.begun(running)
    name = shop.ledger.query("SELECT name FROM mirepoix_worker")[0][0]
    control.pause(shop.app, worker=name)
    until(lambda: "w1" in name, "it has its name")
    second = shop.worker("w2", concurrency=1)
    others = [shop.send("note") for _ in range(3)]
    shop.wait(others, State.SUCCEEDED)
    shop.make("open")
    shop.wait(running, State.SUCCEEDED)
    second.stop().ends()
    waits = shop.send("note")
    first.stop().ends()
    assert shop.state(waits) == State.PENDING
    control.resume(shop.app, worker=name)
    shop.worker("w1", concurrency=1)
    shop.wait(waits, State.SUCCEEDED)
