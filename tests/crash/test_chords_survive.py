"""Kill a process while it records the last part of a chord: the body is neither lost nor sent twice."""

from __future__ import annotations

import pytest
from celery import chord
from celery.result import AsyncResult
from test_every_crashpoint import armed, dies
from workers import DEADLINE_S, Shop, until

from mirepoix.crashpoints import Crashpoint

pytestmark = pytest.mark.slow

BEFORE = (Crashpoint.COMPLETE_BEFORE_COMMIT, Crashpoint.OUTCOME_BEFORE_COMMIT)
IN_PARENT = (Crashpoint.COMPLETE_BEFORE_COMMIT, Crashpoint.COMPLETE_AFTER_COMMIT)
IN_POOL = (Crashpoint.OUTCOME_BEFORE_COMMIT, Crashpoint.OUTCOME_AFTER_COMMIT)


def chord_row(shop: Shop) -> tuple[int, int, str]:
    ((*row,),) = shop.ledger.query("SELECT done, size, state FROM mirepoix_chord")
    return tuple(row)


def go_on(shop: Shop, done: int = 1) -> None:
    """Let the last member end, once the others are counted."""
    until(lambda: chord_row(shop)[0] == done, "the first member is counted")
    shop.make("open")


def once(shop: Shop, *ids: str) -> None:
    """Each was sent once and has one success, whatever it took."""
    for id in ids:
        shop.wait(id, "succeeded")
        assert shop.row(id)["generation"] == 0, id
        assert [a["outcome"] for a in shop.ledger.history(id)].count("succeeded") == 1, id
    assert shop.ledger.query("SELECT 1 FROM mirepoix_chord_part") == []
    assert shop.effects(what="overlap") == []


@pytest.mark.parametrize("point", IN_PARENT, ids=str)
def test_a_worker_dies_that_records_the_last_part_with_others(shop: Shop, point: Crashpoint) -> None:
    header = [shop.task("add", 1, 1).set(task_id="first"), shop.task("gate", "open").set(task_id="last")]
    body = chord(header, shop.task("collect").set(task_id="body"), app=shop.app).delay()
    worker = shop.worker("armed", env=armed(shop, point, 2), is_awaited=False)
    go_on(shop)
    dies(shop, worker)
    assert chord_row(shop) == ((1, 2, "waiting") if point in BEFORE else (2, 2, "fired"))
    assert ("body" in shop.ledger.states()) == (point not in BEFORE)
    shop.worker("clean")
    assert body.get(timeout=DEADLINE_S) == [2, "open"]
    once(shop, "first", "last", "body")
    assert shop.runs("last") == (2 if point in BEFORE else 1)
    assert chord_row(shop) == (2, 2, "fired")


@pytest.mark.parametrize("point", IN_POOL, ids=str)
def test_a_pool_process_dies_that_commits_the_last_part_with_its_links(shop: Shop, point: Crashpoint) -> None:
    header = [
        shop.task("add", 1, 1).set(task_id="first", link=shop.task("note").set(task_id="link-1")),
        shop.task("gate", "open").set(task_id="last", link=shop.task("note").set(task_id="link-2")),
    ]
    body = chord(header, shop.task("collect").set(task_id="body"), app=shop.app).delay()
    worker = shop.worker("armed", concurrency=1, env=armed(shop, point, 2))
    go_on(shop)
    dies(shop, worker, is_child=True)
    assert body.get(timeout=DEADLINE_S) == [2, "open"]
    once(shop, "first", "last", "body", "link-1", "link-2")
    assert shop.runs("last") == (2 if point in BEFORE else 1)
    assert shop.runs("body") == 1
    assert chord_row(shop) == (2, 2, "fired")


@pytest.mark.parametrize("point", IN_POOL, ids=str)
@pytest.mark.parametrize("nth", [2, 3], ids=["the failure is recorded", "the callbacks are called"])
def test_a_pool_process_dies_while_a_chord_fails(shop: Shop, point: Crashpoint, nth: int) -> None:
    failing = shop.task("gate", "open").set(task_id="gate") | shop.task("fail").set(task_id="last", immutable=True)
    body = shop.task("collect").set(task_id="body")
    body.on_error(shop.task("old_errback").set(task_id="errback"))
    chord([shop.task("add", 1, 1).set(task_id="first"), failing], body, app=shop.app).delay()
    worker = shop.worker("armed", concurrency=1, env=armed(shop, point, nth))
    go_on(shop)
    dies(shop, worker, is_child=True)
    shop.wait("last", "failed")
    ((fails,),) = until(
        lambda: shop.ledger.query("SELECT id FROM mirepoix_task WHERE name = 'mirepoix.fail_chord'"), "it is told"
    )
    once(shop, "first", "gate", fails, "errback")
    assert chord_row(shop) == (2, 2, "failed")
    assert "body" not in shop.ledger.states()
    assert AsyncResult("body", app=shop.app).state == "FAILURE"
    assert shop.effects("errback", "begin")[0].more == {"failed": "body"}
    assert shop.runs("last") == (2 if (point in BEFORE and nth == 2) else 1)
