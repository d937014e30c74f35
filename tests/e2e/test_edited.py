"""What a person changes in a parked payload is what a worker runs: at once by a requeue, or by itself."""

from __future__ import annotations

from typing import Any

import pytest
from workers import Process, Shop

pytestmark = pytest.mark.slow

COMMAND = ("-m", "celery", "-A", "shop", "mirepoix")
WHY = ("--reason", "release 2 needs a currency")


def worker(shop: Shop, release: int) -> Process:
    """A worker with that release's code."""
    return shop.worker(f"release{release}", "--include", "released", env={"RELEASE": str(release)})


def edit(shop: Shop, name: str, *words: str) -> str:
    """``mirepoix edit`` without the releases' code."""
    done = shop.start(name, *COMMAND, "edit", *words, *WHY, "--force").ends()
    assert done.exit_code == 0, done.said
    return done.said


def given(shop: Shop, task_id: str) -> Any:
    """What the task's code got, the only time it ran."""
    (began,) = shop.effects(task_id, "begin")
    return began.more["given"]


def test_a_parked_task_is_edited_and_requeued_and_runs_with_its_new_arguments(shop: Shop):
    worker(shop, 2)
    id = shop.app.send_task("released.charge", (7,)).id
    shop.wait(id, "parked")
    assert shop.runs(id) == 0
    assert 'now  released.charge(7, currency="EUR")' in edit(shop, "edits", id, "--set", 'currency="EUR"', "--requeue")
    shop.wait(id, "succeeded")
    assert given(shop, id) == {"order": 7, "currency": "EUR"}
    assert [one["outcome"] for one in shop.ledger.history(id)] == ["parked", "succeeded"]


def test_a_parked_task_that_was_edited_is_taken_up_by_itself(shop: Shop):
    worker(shop, 2)
    id = shop.app.send_task("released.bill", (7,)).id
    shop.wait(id, "parked")
    edit(shop, "edits", id, "--rename", "released.invoice")
    shop.wait(id, "succeeded")
    assert given(shop, id) == {"order": 7}
    (run,) = shop.effects(id, "begin")
    assert run.name == "released.invoice"
