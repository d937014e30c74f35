"""Pausing with a broker in front: its queue is not consumed, and tasks that were held come from the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from workers import DEADLINE_S, Shop, until

from mirepoix import control
from mirepoix.ledger import operate
from mirepoix.states import State

pytestmark = pytest.mark.slow


def begun(shop: Shop) -> set[str]:
    """The tasks that have begun."""
    return {effect.id for effect in shop.effects(what="begin")}


def test_a_paused_queue_is_not_consumed_until_it_is_resumed(shop: Shop):
    first = shop.worker("w1", concurrency=1)
    running = shop.send("gate", "open")
    shop.begun(running)
    behind = [shop.send("note") for _ in range(9)]
    control.pause(shop.app, queue="celery")
    first.says("now paused: queue 'celery'")
    until(lambda: shop.broker.size("celery") + _pending(shop, behind) >= 9, "what was handed over went back")
    until(lambda: _leased(shop) <= {running}, "what was taken ahead went back")
    shop.worker("w2", concurrency=1)
    shop.make("open")
    shop.wait(running, State.SUCCEEDED)
    behind.append(shop.send("note"))
    until(lambda: shop.row(behind[-1])["sendings"] >= 1, "new tasks are accepted and published")
    assert begun(shop) == {running}
    control.resume(shop.app, queue="celery")
    shop.wait(behind, State.SUCCEEDED)
    assert [shop.runs(id) for id in behind] == [1] * len(behind)


def test_a_queue_that_the_user_cancelled_is_not_consumed_after_a_resume(shop: Shop):
    worker = shop.worker("w1", concurrency=1)
    control.pause(shop.app, queue="celery")
    worker.says("now paused: queue 'celery'")
    _ask(shop, "cancel_consumer", queue="celery")
    worker.says("Canceling queue celery")  # Celery does it after it has answered
    control.resume(shop.app, queue="celery")
    worker.says("now paused: nothing")
    waits = shop.send("note")
    _ask(shop, "add_consumer", queue="other")
    other = shop.send("note", queue="other")
    shop.wait(other, State.SUCCEEDED)
    assert shop.state(waits) == State.PENDING
    assert worker.is_running


def test_tasks_of_a_paused_name_are_held_and_come_back_without_their_messages(shop: Shop):
    control.pause(shop.app, task="shop.note")
    held = [shop.send("note") for _ in range(30)]
    other = shop.send("add", 1, 2)
    shop.worker("w1", concurrency=1)
    shop.wait(other, State.SUCCEEDED)
    until(lambda: all(shop.row(id)["held_by"] == "task shop.note" for id in held), "all are held")
    until(lambda: shop.broker.size("celery") == 0, "their messages are gone")
    assert begun(shop) <= {other}
    control.resume(shop.app, task="shop.note")
    shop.wait(held, State.SUCCEEDED)
    assert [shop.runs(id) for id in held] == [1] * 30


def test_a_task_that_was_moved_is_run_by_the_other_queue_and_not_by_its_old_message(shop: Shop):
    """The worker of the old queue receives the message, and gives the task back."""
    id = shop.send("note")
    until(lambda: shop.row(id)["sent_fence"] == 0, "its message is in the old queue")
    with shop.ledger.connection.transaction() as tx:
        assert operate.move(tx, [id], "other") == [id]
    shop.worker("old", concurrency=1)
    until(lambda: shop.broker.size("celery") == 0, "the old message is received")
    assert shop.state(id) == State.PENDING
    shop.worker("new", "-Q", "other", concurrency=1)
    shop.wait(id, State.SUCCEEDED)
    assert shop.runs(id) == 1


def _pending(shop: Shop, ids: list[str]) -> int:
    states = shop.ledger.states()
    return sum(states[id] == State.PENDING for id in ids)


def _leased(shop: Shop) -> set[str]:
    return {id for id, state in shop.ledger.states().items() if state in (State.LEASED, State.RUNNING)}


def _ask(shop: Shop, command: str, **arguments: object) -> list[dict[str, Any]]:
    """Ask the worker by remote control, over a connection of its own: the server may have closed a pooled one."""
    with shop.app.connection_for_write() as connection:
        asked = {"destination": ["w1@test"], "arguments": arguments, "reply": True, "limit": 1, "timeout": DEADLINE_S}
        return shop.app.control.broadcast(command, **asked, connection=connection)
