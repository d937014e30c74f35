"""Tasks that are coroutines: in every pool, on every database, they are tasks like any other."""

from __future__ import annotations

import json

import pytest
from celery import chain
from workers import Process, Shop, until

pytestmark = pytest.mark.slow


def send(shop: Shop, name: str, *args: object, **options: object) -> str:
    return shop.app.send_task(f"async.{name}", args=args, **options).id


def test_an_async_task_succeeds_as_itself(open_shop: Shop) -> None:
    id = send(open_shop, "note")
    open_shop.wait(id, "succeeded")
    assert open_shop.runs(id) == 1
    assert open_shop.row(id)["fence"] == 1
    assert [(effect.id, effect.name) for effect in open_shop.effects(id, "current")] == [(id, "async.note")]


def test_an_async_task_that_raises_fails_with_its_traceback(open_shop: Shop) -> None:
    id = send(open_shop, "fail", "no stock")
    open_shop.wait(id, "failed")
    (attempt,) = open_shop.ledger.attempts(id)
    assert (attempt["outcome"], attempt["error_type"]) == ("failed", "builtins.ValueError")
    assert "raise ValueError(words)" in attempt["traceback"]


def test_retry_in_an_async_task_is_a_new_generation(open_shop: Shop) -> None:
    id = send(open_shop, "again", 2)
    open_shop.wait(id, "succeeded")
    row = open_shop.row(id)
    assert (row["retries"], row["generation"], row["fence"]) == (2, 2, 3)
    assert [a["outcome"] for a in open_shop.ledger.attempts(id)] == ["retried", "retried"]


def test_autoretry_of_an_async_task_is_given_up_as_its_policy_says(open_shop: Shop) -> None:
    id = send(open_shop, "again_by_itself")
    open_shop.wait(id, "failed")
    assert open_shop.runs(id) == 3
    assert [a["outcome"] for a in open_shop.ledger.attempts(id)] == ["retried", "retried", "failed"]


def test_an_async_task_is_replaced(open_shop: Shop) -> None:
    id = send(open_shop, "replaced")
    open_shop.wait(id, "succeeded")
    assert [effect.name for effect in open_shop.effects(id, "begin")] == ["async.replaced", "async.add"]


def test_a_chain_of_async_and_other_tasks_hands_on_results_and_sends_its_links(open_shop: Shop) -> None:
    def add(*args: int) -> object:
        return open_shop.app.signature("async.add", args=args)

    link = open_shop.task("add", 100)
    link.freeze()
    last = chain(add(1, 2), open_shop.task("add", 3), add(4), app=open_shop.app).apply_async(link=link)
    open_shop.wait([last.id, link.id], "succeeded")
    assert json.loads(open_shop.row(last.id)["body"])[0] == [6, 4]
    assert open_shop.effects(link.id, "begin")[0].more == {"x": 10, "y": 100}
    assert open_shop.row(last.id)["parent_id"] == last.parent.id


def test_what_an_async_task_sends_knows_its_parent(open_shop: Shop) -> None:
    id = send(open_shop, "parent", "async-child-1", "async-child-2")
    open_shop.wait([id, "async-child-1", "async-child-2"], "succeeded")
    assert {open_shop.row(child)["parent_id"] for child in ("async-child-1", "async-child-2")} == {id}


def test_a_coroutine_that_ends_as_cancelled_is_a_failure(open_shop: Shop, steady_worker: Process) -> None:
    id = send(open_shop, "cancelled")
    open_shop.wait(id, "failed")
    (attempt,) = open_shop.ledger.attempts(id)
    assert attempt["error_type"] == "mirepoix.errors.CoroutineCancelled"
    assert "await future" in attempt["traceback"]
    assert steady_worker.is_running


def test_sys_exit_in_an_async_task_is_a_death_and_is_bounded(open_shop: Shop, steady_worker: Process) -> None:
    id = send(open_shop, "leave")
    open_shop.wait(id, "quarantined")
    assert (open_shop.runs(id), open_shop.row(id)["deaths"]) == (3, 3)
    assert steady_worker.is_running


def test_map_runs_async_tasks(open_shop: Shop) -> None:
    calls = {"task": open_shop.app.signature("async.note"), "it": [1, 2]}
    id = open_shop.app.send_task("celery.map", kwargs=calls).id
    open_shop.wait(id, "succeeded")
    begun = [effect for effect in open_shop.effects(what="begin") if effect.name == "async.note"]
    assert len([effect for effect in begun if effect.id is None]) % 2 == 0
    assert any(effect.id is None for effect in begun)


def test_a_pydantic_model_that_an_async_task_returns_is_the_next_ones_argument(open_shop: Shop) -> None:
    first = open_shop.app.signature("async.validated", args=({"number": 1},))
    last = chain(first, open_shop.app.signature("async.validated"), app=open_shop.app).delay()
    open_shop.wait(last.id, "succeeded")
    assert json.loads(open_shop.row(last.id)["body"])[0] == [{"number": 2}]


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_an_async_task_sends_in_a_session_is_sent_if_the_session_commits(open_shop: Shop, is_wanted: bool) -> None:
    child = f"async-ordered-{is_wanted}"
    id = open_shop.app.send_task("async.order", args=(child,), kwargs={"is_wanted": is_wanted}).id
    open_shop.wait(id, "succeeded")
    assert len(open_shop.effects(id, "sent")) == 1
    if is_wanted:
        open_shop.wait(child, "succeeded")
    else:
        assert child not in open_shop.ledger.states()


def test_what_a_coroutine_left_behind_is_told_and_what_it_sends_later_is_a_row(open_shop: Shop) -> None:
    id = send(open_shop, "start", "send now", "async-late")
    open_shop.wait(id, "succeeded")
    words = f"task async.start[{id}] ended and left 1 asyncio task(s) pending"
    open_shop.steady_worker.says(words)
    open_shop.make("send now")

    def is_sent() -> bool:
        # It goes on when its loop runs another task: which thread or process takes that one is chance.
        open_shop.wait(send(open_shop, "add", 1, 1), "succeeded")
        return "async-late" in open_shop.ledger.states()

    until(is_sent, "what was left behind has sent its task")
    open_shop.wait("async-late", "succeeded")
    assert open_shop.steady_worker.said.count(f"[{id}] ended and left") == 1
