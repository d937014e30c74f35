"""Tasks that come back do not wait behind what the broker has: workers take them from the ledger."""

from __future__ import annotations

import pytest
from workers import POOLS, Process, Shop, until

from driver import Ledger
from mirepoix.states import State
from pace import DEADLINE_S

pytestmark = pytest.mark.slow

BACKLOG = 60
ONE_AT_A_TIME = ("--prefetch-multiplier", "1")


def backlog(shop: Shop, *, size: int = BACKLOG) -> list[str]:
    """Tasks that wait in the broker."""
    ids = [shop.send("note") for _ in range(size)]

    def are_sent() -> bool:
        return all(shop.row(id)["sendings"] >= 1 for id in ids) or shop.broker.size("celery") >= size // 2

    until(are_sent, "they are in the broker, but for what a worker has reserved")
    return ids


def cut_off(shop: Shop, worker: Process) -> str:
    """A task that ran in the worker when it was killed."""
    id = shop.send("gate", "open")
    shop.begun(id)
    worker.remove()
    shop.make("open")
    return id


def ran_before(shop: Shop, id: str, others: list[str]) -> int:
    """How many of the others began before the last run of the task."""
    begun = [effect.id for effect in shop.effects(what="begin")]
    last = len(begun) - 1 - begun[::-1].index(id)
    return sum(other in begun[:last] for other in others)


def all_run_once_more(shop: Shop, again: list[str], once: list[str]) -> None:
    """The messages that come later find nothing to run."""
    shop.wait([*again, *once], State.SUCCEEDED)
    until(lambda: shop.broker.size("celery") == 0, "the late messages are taken off the queue")
    after = shop.send("note")
    shop.wait(after, State.SUCCEEDED)
    assert [shop.runs(id) for id in again] == [2] * len(again)
    assert [id for id in once if shop.runs(id) != 1] == []
    assert shop.effects(what="overlap") == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_was_cut_off_runs_before_the_backlog_of_the_broker(shop: Shop, pool: str):
    first = shop.worker("first", pool=pool, concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    waiting = backlog(shop)
    first.remove()
    shop.make("open")
    shop.worker("second", pool=pool, concurrency=1)
    all_run_once_more(shop, [id], waiting)
    assert shop.row(id)["handovers"] + shop.row(id)["deaths"] == 1


def test_a_busy_worker_takes_it_with_the_first_place_that_is_free(shop: Shop):
    """Its places are taken when the other worker dies: what came back is next, and not what it has prefetched."""
    first = shop.worker("first", *ONE_AT_A_TIME, concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    shop.worker("busy", *ONE_AT_A_TIME, concurrency=1)
    held = shop.send("gate", "held")
    shop.begun(held)
    waiting = backlog(shop)
    first.remove()
    until(lambda: shop.state(id) == State.PENDING, "it came back")
    until(lambda: shop.row(id)["sent_fence"] == 1, "its second message is at the end of the queue")
    shop.make("open")
    shop.make("held")
    all_run_once_more(shop, [id], [held, *waiting])
    assert ran_before(shop, id, waiting) <= 2


def test_what_came_back_goes_by_priority_and_age(shop: Shop):
    first = shop.worker("first", *ONE_AT_A_TIME, concurrency=3)
    old = [shop.send("gate", "open", priority=priority) for priority in (0, 9, 4)]
    for id in old:
        shop.begun(id)
    waiting = backlog(shop, size=10)
    first.remove()
    shop.make("open")
    shop.worker("second", *ONE_AT_A_TIME, concurrency=1)
    all_run_once_more(shop, old, waiting)
    again = [effect.id for effect in shop.effects(what="begin") if effect.id in old][3:]
    assert again == [old[1], old[2], old[0]]


def test_a_worker_takes_only_from_the_queues_that_it_consumes(shop: Shop):
    conf = {"task_routes": {"shop.gate": {"queue": "gates"}}}
    first = shop.worker("first", "-Q", "gates", concurrency=1, conf=conf)
    id = shop.send("gate", "open", queue="gates")
    shop.begun(id)
    shop.worker("other", "-Q", "celery", concurrency=1)
    first.remove()
    until(lambda: shop.state(id) == State.PENDING, "it came back")
    later = [shop.send("note") for _ in range(5)]
    shop.wait(later, State.SUCCEEDED)
    assert shop.state(id) == State.PENDING
    shop.make("open")
    shop.worker("third", "-Q", "gates", concurrency=1, conf=conf)
    shop.wait(id, State.SUCCEEDED)
    assert (shop.runs(id), shop.effects(what="overlap")) == (2, [])


def test_a_queue_that_a_worker_no_longer_consumes_is_left_alone_until_it_does_again(shop: Shop):
    first = shop.worker("first", concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    shop.worker("second", "-Q", "celery,other", concurrency=1)
    shop.celery("control", "-d", "second@test", "cancel_consumer", "celery")
    first.remove()
    until(lambda: shop.state(id) == State.PENDING, "it came back")
    others = [shop.send("note", queue="other") for _ in range(5)]
    shop.wait(others, State.SUCCEEDED)
    assert shop.state(id) == State.PENDING
    shop.make("open")
    shop.celery("control", "-d", "second@test", "add_consumer", "celery")
    all_run_once_more(shop, [id], others)


def test_a_retry_and_what_a_person_requeues_do_not_wait_behind_the_backlog(shop: Shop):
    retries, failed = shop.send("again", 1, 0.1), shop.send("fail")
    worker = shop.worker("w1", concurrency=1)
    shop.wait(retries, State.SUCCEEDED)
    shop.wait(failed, State.FAILED)
    worker.stop()
    shop.ledger.requeue(failed)
    waiting = backlog(shop)
    shop.worker("w2", *ONE_AT_A_TIME, concurrency=1)
    shop.wait([failed], State.FAILED)
    shop.wait(waiting, State.SUCCEEDED)
    assert ran_before(shop, failed, waiting) <= 10
    assert [shop.runs(id) for id in (retries, failed)] == [2, 2]


def test_what_was_locked_for_a_moment_does_not_wait_behind_the_backlog(shop: Shop):
    """The worker passes over it, as something else does when it records that it sent it, and soon looks once more."""
    failed = shop.send("fail")
    worker = shop.worker("w1", concurrency=1)
    shop.wait(failed, State.FAILED)
    worker.stop()
    shop.ledger.requeue(failed)
    held = shop.send("gate", "held")
    waiting = backlog(shop)
    with Ledger(shop.ledger.source) as other, other.connection.transaction() as tx:
        tx.query("SELECT id FROM mirepoix_task WHERE id = :id FOR UPDATE", id=failed)
        shop.worker("w2", *ONE_AT_A_TIME, concurrency=1, liveness_interval_s=4 * DEADLINE_S)
        shop.begun(held)
    shop.make("held")
    shop.wait(waiting, State.SUCCEEDED)
    assert ran_before(shop, failed, waiting) < len(waiting)


def test_no_worker_with_a_place_leaves_it_to_the_relay_which_publishes_it(shop: Shop):
    first = shop.worker("first", concurrency=1)
    id = cut_off(shop, first)
    relay = shop.start("relay", "-m", "celery", "-A", "shop", "mirepoix", "relay")
    watcher = shop.worker("watcher", "-Q", "nothing", concurrency=1)
    until(lambda: shop.row(id)["sent_fence"] == 1, "it is published again")
    assert shop.state(id) == State.PENDING
    relay.stop()
    watcher.stop()
    shop.worker("second", concurrency=1)
    all_run_once_more(shop, [id], [])


def test_a_worker_that_dies_between_take_and_start_leaves_it_to_another(shop: Shop):
    first = shop.worker("first", *ONE_AT_A_TIME, concurrency=1)
    id = cut_off(shop, first)
    armed = {"MIREPOIX_CRASHPOINT": "take.after_commit"}
    assert shop.worker("armed", concurrency=1, env=armed, is_awaited=False).ends().exit_code == -9
    assert (shop.row(id)["fence"], shop.runs(id)) == (2, 1)
    shop.worker("second", concurrency=1)
    all_run_once_more(shop, [id], [])


def test_a_frozen_worker_that_wakes_cannot_end_what_was_taken_from_the_ledger(shop: Shop):
    first = shop.worker("first", *ONE_AT_A_TIME, concurrency=1, lease_ttl_s=3.0)
    id = shop.send("gate", "open")
    shop.begun(id)
    first.freeze()
    shop.worker("second", *ONE_AT_A_TIME, concurrency=1, lease_ttl_s=3.0)
    shop.begun(id, 2)
    first.thaw().says("was declared dead while it lived")
    shop.make("open")
    shop.wait(id, State.SUCCEEDED)
    until(lambda: len(shop.effects(id, "end")) == 2, "both have ended")
    until(lambda: shop.broker.size("celery") == 0, "the late message is taken off the queue")
    after = [shop.send("note") for _ in range(4)]
    shop.wait(after, State.SUCCEEDED)
    assert [(one["outcome"], one["fence"]) for one in shop.ledger.history(id)][-1] == ("succeeded", 2)
    assert shop.runs(id) == 2
