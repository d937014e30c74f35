"""Limits with a broker: what has a limit does not go through the broker, and its limit holds."""

from __future__ import annotations

import pytest
from limiting import EXPORT, most_at_once, task_of
from workers import Shop, until

pytestmark = pytest.mark.slow


def test_tasks_with_a_limit_are_taken_from_the_ledger_and_their_limit_holds(shop: Shop) -> None:
    export = task_of(shop, "export", EXPORT)
    shop.worker("w1", "--include", "limited_tasks", concurrency=3)
    shop.worker("w2", "--include", "limited_tasks", concurrency=3)
    ids = [export.delay("ann", "open").id for _ in range(4)]
    note = shop.send("note")
    until(lambda: sum(map(shop.runs, ids)) == 2, "two run")
    shop.wait(note, "succeeded")
    shop.make("open")
    shop.wait(ids, "succeeded")
    assert most_at_once(shop) == 2
    assert {shop.row(id)["sent_fence"] for id in ids} == {None}
    assert shop.row(note)["sent_fence"] is not None
    assert {shop.runs(id) for id in ids} == {1}
