"""Unique tasks on real workers: retries and deaths do not collide with the task itself, and leave nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
from workers import Shop

from mirepoix import Unique

pytestmark = pytest.mark.slow


def task_of(shop: Shop, name: str, unique: Any = True) -> Any:
    """The task of that name, as a program that sends declares it."""

    @shop.app.task(name=name, unique=unique)
    def sent(*args: Any) -> None: ...

    shop.app.finalize()
    return shop.app.tasks[name]


def test_a_retry_does_not_collide_with_its_task(shop: Shop) -> None:
    shop.worker("w1", "--include", "unique_tasks")
    sync = task_of(shop, "unique_tasks.sync")
    first = sync.delay("ann").id
    shop.wait(first, "succeeded")
    assert shop.runs(first) == 3
    second = sync.delay("ann").id
    assert second != first
    shop.wait(second, "succeeded")


def test_a_worker_that_dies_leaves_no_lock_behind(shop: Shop) -> None:
    worker = shop.worker("w1", concurrency=1)
    gate = task_of(shop, "shop.gate")
    first = gate.delay("open").id
    shop.begun(first)
    worker.kill()
    assert gate.delay("open").id == first
    shop.worker("w2")
    shop.begun(first, 2)
    assert gate.delay("open").id == first
    shop.make("open")
    shop.wait(first, "succeeded")
    assert gate.delay("open").id != first


def test_the_last_of_several_calls_runs_once_after_the_pause(shop: Shop) -> None:
    """Debounce."""
    add = task_of(shop, "shop.add", Unique(by=[], until="started", on_conflict="replace"))
    ids = {add.apply_async((1, number), countdown=0.5).id for number in range(5)}
    assert len(ids) == 1
    shop.worker()
    (id,) = ids
    shop.wait(id, "succeeded")
    assert shop.app.AsyncResult(id).get(timeout=30) == 5
    assert shop.runs(id) == 1
