"""Workers die at every step of taking tasks with limits: no slot is lost, and none is filled twice."""

from __future__ import annotations

import pytest
from limiting import EXPORT, most_at_once, task_of
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
