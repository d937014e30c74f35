"""Steps in real workers: what was kept is not done again, whoever dies; what was not is, under the same key."""

from __future__ import annotations

import pytest
from workers import POOLS, Shop, until

from mirepoix.crashpoints import Crashpoint

pytestmark = pytest.mark.slow


def keys(shop: Shop, task_id: str) -> list[str]:
    """The key of each time that the work was begun."""
    return [effect.more["key"] for effect in shop.effects(task_id, "charge")]


def kept(shop: Shop) -> list[tuple]:
    return shop.ledger.query("SELECT task_id, name, fence FROM mirepoix_step ORDER BY task_id")


@pytest.mark.parametrize("point", [Crashpoint.STEP_BEFORE_COMMIT, Crashpoint.STEP_AFTER_COMMIT], ids=str)
def test_a_whole_worker_that_dies_around_the_commit(shop: Shop, point: Crashpoint) -> None:
    armed = {"MIREPOIX_CRASHPOINT": str(point)}
    victim = shop.worker("victim", pool="solo", concurrency=1, env=armed)
    id = shop.send("pay")
    assert victim.ends().exit_code == -9
    shop.worker("other", concurrency=1)
    shop.wait(id, "succeeded")
    is_kept = point is Crashpoint.STEP_AFTER_COMMIT
    assert shop.runs(id) == 2
    assert len(keys(shop, id)) == (1 if is_kept else 2)
    assert len(set(keys(shop, id))) == 1
    assert kept(shop) == [(id, "charge", 1 if is_kept else 2)]
    (paid,) = shop.effects(id, "paid")
    assert (paid.more["kind"], paid.more["by"]) == ("Decimal", keys(shop, id)[0])


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_retry_does_not_do_it_again(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool)
    ids = [shop.send("pay", "retry") for _ in range(3)]
    shop.wait(ids, "succeeded")
    for id in ids:
        assert (shop.runs(id), len(keys(shop, id))) == (3, 1)
        assert len({paid.more["in_process"] for paid in shop.effects(id, "paid")}) == 1
        assert {paid.more["kind"] for paid in shop.effects(id, "paid")} == {"Decimal"}
    assert len({keys(shop, id)[0] for id in ids}) == 3


def test_a_requeue_and_a_second_sending_do_not_do_it_again(shop: Shop) -> None:
    shop.worker()
    id = shop.send("pay", "fail")
    shop.wait(id, "failed")
    shop.make("mended")
    shop.ledger.requeue(id)
    shop.wait(id, "succeeded")
    shop.send("pay", task_id=id)
    shop.begun(id, 3)
    shop.wait(id, "succeeded")
    assert len(keys(shop, id)) == 1
    assert kept(shop) == [(id, "charge", 1)]


def test_a_zombie_is_stopped_at_its_step_and_keeps_nothing(shop: Shop) -> None:
    frozen = shop.worker("frozen", concurrency=1, lease_ttl_s=1)
    id = shop.send("pay", "", "open")
    until(lambda: keys(shop, id) and shop.state(id) == "running", "the work began, and the ledger knows")
    frozen.freeze()
    shop.worker("other", concurrency=1, lease_ttl_s=1)
    until(lambda: len(keys(shop, id)) == 2, "another began it too")
    shop.make("open")
    shop.wait(id, "succeeded")
    frozen.thaw()
    until(lambda: shop.effects(id, "raise"), "the zombie was stopped")
    (stopped,) = shop.effects(id, "raise")
    assert (stopped.more["error"], stopped.fence) == ("LeaseLost", 1)
    assert kept(shop) == [(id, "charge", 2)]
    assert len(set(keys(shop, id))) == 1
    assert [paid.fence for paid in shop.effects(id, "paid")] == [2]
    assert shop.state(id) == "succeeded"


@pytest.mark.parametrize("pool", POOLS)
def test_steps_of_coroutines_are_not_done_again_by_a_retry(shop: Shop, pool: str) -> None:
    shop.worker(pool=pool)
    ids = [shop.app.send_task("async.pay", args=(2,)).id for _ in range(3)]
    shop.wait(ids, "succeeded")
    for id in ids:
        assert (shop.runs(id), len(keys(shop, id)), len(set(keys(shop, id)))) == (3, 3, 3)
        assert [paid.more["paid"] for paid in shop.effects(id, "paid")] == [["a", "b", "c"]] * 3
    assert len(kept(shop)) == 9


def test_what_was_done_is_shown(shop: Shop) -> None:
    shop.worker()
    id = shop.send("pay", "retry")
    shop.wait(id, "succeeded")
    shown = shop.celery("mirepoix", "show", id)
    assert shown.returncode == 0, shown.stderr
    assert "Steps" in shown.stdout
    assert "charge" in shown.stdout
