"""Processes die at every step of sending and taking tasks with limits: no slot is lost, and none is filled twice."""

from __future__ import annotations

import pytest
from limiting import EXPORT, RENDER, SYNC, most_at_once, task_of
from test_every_crashpoint import armed, dies
from workers import Shop

from mirepoix.crashpoints import Crashpoint

pytestmark = pytest.mark.slow

POINTS = [
    *(point for point in Crashpoint if point.partition(".")[0] in ("limits", "limit_keys")),
    Crashpoint.TAKE_BEFORE_COMMIT,
    Crashpoint.TAKE_AFTER_COMMIT,
]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_worker_dies_while_it_takes_tasks_with_a_limit(shop: Shop, point: Crashpoint) -> None:
    export = task_of(shop, "export", EXPORT)
    ids = [export.delay("ann").id for _ in range(5)]
    dies(shop, shop.worker("armed", "--include", "limited_tasks", env=armed(shop, point), is_awaited=False))
    shop.worker("clean", "--include", "limited_tasks")
    shop.wait(ids, "succeeded")
    assert most_at_once(shop) <= 2
    assert {shop.runs(id) for id in ids} == {1}


COMMITTED = ["pending", "cancelled", "pending"]
AT_LAST = ["pending", "cancelled", "cancelled", "pending"]
SENDS = """
from limited_tasks import render, sync
for task in (sync, render):
    task.delay("ann")
    task.delay("ann")
"""


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("point", [Crashpoint.ENQUEUE_BEFORE_COMMIT, Crashpoint.ENQUEUE_AFTER_COMMIT], ids=str)
def test_a_sender_dies_whose_calls_are_dropped_or_cancel_others(shop: Shop, point: Crashpoint, number: int) -> None:
    """What it has decided is committed with the call that it has sent, and others wait for nothing that it left."""
    armed_at = armed(shop, point) | {"MIREPOIX_CRASHPOINT": f"{point}:{number}"}
    dies(shop, shop.start("armed", "-c", SENDS, env=armed_at))
    sent = number if point is Crashpoint.ENQUEUE_AFTER_COMMIT else number - 1
    assert list(shop.ledger.states().values()) == (AT_LAST if sent == len(AT_LAST) else COMMITTED[:sent])
    sync, render = task_of(shop, "sync", SYNC), task_of(shop, "render", RENDER)
    assert sync.delay("ann").state == ("REVOKED" if sent else "PENDING")
    assert render.delay("ann").state == "PENDING"
    assert sorted(shop.ledger.states().values()).count("pending") == 2
