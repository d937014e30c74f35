"""Unique tasks with a broker: its message of a call that was replaced runs the new call, once."""

from __future__ import annotations

import pytest
from workers import Shop

from mirepoix import Unique

pytestmark = pytest.mark.slow


def test_a_replaced_call_runs_once_with_its_last_arguments(shop: Shop) -> None:
    policy = Unique(by=[], until="started", on_conflict="replace")

    @shop.app.task(name="shop.add", unique=policy)
    def sent(x: int, y: int) -> None: ...

    shop.app.finalize()
    add = shop.app.tasks["shop.add"]
    ids = {add.delay(1, number).id for number in range(5)}
    assert len(ids) == 1
    (id,) = ids
    shop.worker()
    shop.wait(id, "succeeded")
    assert shop.app.AsyncResult(id).get(timeout=30) == 5
    other = add.delay(2, 2)
    assert (other.id != id, other.get(timeout=30)) == (True, 4)
    assert (shop.runs(id), shop.runs(other.id)) == (1, 1)
