"""Limits on real workers: over all of them, through deaths and retries, and with what workflows send."""

from __future__ import annotations

import pytest
from celery import chord, group
from limiting import CHARGE, EXPORT, RENDER, SYNC, keys, most_at_once, task_of
from workers import Shop, until

import mirepoix
from driver import moment
from mirepoix import Limit, control
from mirepoix.ledger import limits

pytestmark = pytest.mark.slow


def test_two_workers_together_run_no_more_than_the_limit_says(shop: Shop) -> None:
    export = task_of(shop, "export", EXPORT)
    first = [export.delay("ann", "open").id for _ in range(4)]
    shop.worker("w1", "--include", "limited_tasks", concurrency=3)
    shop.worker("w2", "--include", "limited_tasks", concurrency=3)
    until(lambda: sum(map(shop.runs, first)) == 2, "two run")
    other = export.delay("bob").id  # another customer does not wait
    note = shop.send("note")
    shop.wait([other, note], "succeeded")
    assert sum(map(shop.runs, first)) == 2
    shop.make("open")
    shop.wait(first, "succeeded")
    assert most_at_once(shop) == 2


def test_a_dead_workers_slots_are_free(shop: Shop) -> None:
    export = task_of(shop, "export", EXPORT)
    held = [export.delay("ann", "open").id for _ in range(2)]
    dying = shop.worker("dying", "--include", "limited_tasks")
    until(lambda: sum(map(shop.runs, held)) == 2, "both run")
    waiting = export.delay("ann").id
    shop.worker("w2", "--include", "limited_tasks")
    dying.remove()
    shop.make("open")
    shop.wait([*held, waiting], "succeeded")
    assert shop.runs(waiting) == 1


def test_what_workflows_bulk_and_retries_send_has_its_limit(shop: Shop) -> None:
    export = task_of(shop, "export", EXPORT)
    again = task_of(shop, "again", Limit(running=1, name="again", key=lambda who: who.lower()))
    group(export.s("ann"), export.s("bob")).delay()
    chord([export.s("ann")], export.si("ann")).delay()
    (export.s("ann") | export.si("bob")).delay()
    mirepoix.bulk(export, [("ann",), {"customer": "bob"}])
    export.apply_async(("ann",), link=export.si("bob"))
    retried = again.delay("ANN").id
    assert keys(shop) == {"limited_tasks.export:ann": 5, "limited_tasks.export:bob": 2, "again:ann": 1}
    shop.worker("w1", "--include", "limited_tasks")
    shop.wait(retried, "succeeded")
    until(lambda: len(shop.ledger.states()) == 11, "what follows was sent")
    shop.wait(shop.ledger.states(), "succeeded")
    assert keys(shop) == {"limited_tasks.export:ann": 6, "limited_tasks.export:bob": 4, "again:ann": 1}
    assert shop.runs(retried) == 2
    assert most_at_once(shop) <= 2


def test_no_second_takes_more_than_the_rate_says(shop: Shop) -> None:
    charge = task_of(shop, "charge", CHARGE)
    ids = [charge.delay().id for _ in range(8)]
    shop.worker("w1", "--include", "limited_tasks")
    shop.worker("w2", "--include", "limited_tasks")
    shop.wait(ids, "succeeded")
    rows = shop.ledger.query("SELECT leased_at FROM mirepoix_task ORDER BY leased_at")
    taken = [moment(leased_at) for (leased_at,) in rows]
    for first, later in zip(taken, taken[3:], strict=False):
        assert (later - first).total_seconds() >= 1.0
    assert {shop.runs(id) for id in ids} == {1}


def test_the_workers_record_the_limits_of_their_code(shop: Shop) -> None:
    shop.worker("w1", "--include", "limited_tasks")
    found = shop.ledger.do(limits.read)
    assert {name: limit.bounds.as_text() for name, limit in found.items()} == {
        "limited_tasks.export": "[2, null, null]",
        "limited_tasks.charge": "[null, 3, 1.0]",
        "again": "[1, null, null]",
        "limited_tasks.sync": "[1, null, null]",
        "limited_tasks.render": "[1, null, null]",
    }
    assert {limit.source for limit in found.values()} == {"code"}


def test_a_call_that_runs_again_or_comes_back_is_not_dropped_and_drops_the_others(shop: Shop) -> None:
    sync = task_of(shop, "sync", SYNC)
    first = sync.delay("ann", "open").id
    dying = shop.worker("dying", "--include", "limited_tasks")
    until(lambda: shop.runs(first) == 2, "its second attempt runs")
    assert sync.delay("ann").state == "REVOKED"
    dying.remove()
    shop.worker("w2", "--include", "limited_tasks")
    until(lambda: shop.runs(first) == 3, "another worker runs it")
    assert sync.delay("ann").state == "REVOKED"
    shop.make("open")
    shop.wait(first, "succeeded")
    later = (sync.s("ann") | sync.si("ann")).delay().parent  # the second is sent when the first has ended
    shop.wait(later.id, "succeeded")
    until(lambda: len(shop.ledger.states()) == 5, "the next of the chain is there")
    shop.wait([id for id, state in shop.ledger.states().items() if state != "cancelled"], "succeeded")
    assert sorted(shop.ledger.states().values()) == ["cancelled"] * 2 + ["succeeded"] * 3


def test_the_newest_call_waits_for_the_one_that_runs(shop: Shop) -> None:
    render = task_of(shop, "render", RENDER)
    first = render.delay("ann", "open").id
    shop.worker("w1", "--include", "limited_tasks")
    until(lambda: shop.runs(first) == 1, "it runs")
    ids = [first, *(render.delay("ann").id for _ in range(3))]
    assert [shop.state(id) for id in ids[1:]] == ["cancelled", "cancelled", "pending"]
    shop.make("open")
    shop.wait([ids[0], ids[3]], "succeeded")
    assert [shop.runs(id) for id in ids] == [1, 0, 0, 1]


def test_a_paused_key_stops_on_every_worker_within_a_second_and_the_others_go_on(shop: Shop) -> None:
    export = task_of(shop, "export", EXPORT)
    shop.worker("w1", "--include", "limited_tasks")
    shop.worker("w2", "--include", "limited_tasks")
    assert control.pause(shop.app, limit="limited_tasks.export:ann", note="it complains")
    until(lambda: shop.logs().count("now paused: limit 'limited_tasks.export:ann'") == 2, "both have read it")
    held = [export.delay("ann").id for _ in range(3)]
    others = [export.delay("bob").id for _ in range(3)]
    shop.wait(others, "succeeded")
    assert [shop.state(id) for id in held] == ["pending"] * 3
    assert control.resume(shop.app, limit="limited_tasks.export:ann")
    shop.wait(held, "succeeded")
    assert [shop.runs(id) for id in held] == [1] * 3


def test_the_rate_limits_of_celery_count_over_all_workers(shop: Shop) -> None:
    sender = shop.client(global_rate_limits=True)

    @sender.task(name="limited_tasks.slowly", rate_limit="120/m", shared=False)
    def slowly() -> None: ...

    sender.finalize()
    ids = [sender.tasks["limited_tasks.slowly"].delay().id for _ in range(5)]
    shop.worker("w1", "--include", "limited_tasks", global_rate_limits=True)
    shop.worker("w2", "--include", "limited_tasks", global_rate_limits=True)
    shop.wait(ids, "succeeded")
    assert keys(shop) == {"limited_tasks.slowly": 5}
    assert shop.ledger.do(limits.read)["limited_tasks.slowly"].bounds == limits.Bounds(None, 2, 1.0)
    rows = shop.ledger.query("SELECT leased_at FROM mirepoix_task ORDER BY leased_at")
    taken = [moment(leased_at) for (leased_at,) in rows]
    assert all((later - first).total_seconds() >= 1.0 for first, later in zip(taken, taken[2:], strict=False))
