"""Why a task does not run: each answer, from a real ledger."""

from __future__ import annotations

import pytest

from driver import Ledger
from mirepoix.ledger import holds
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.operations.why import Why, look, why


@pytest.fixture
def ask(ledger: Ledger):
    def of(task_id: str) -> Why:
        with ledger.connection.reading() as tx:
            detail = task_detail(tx, task_id)
            assert detail is not None
            return why(detail, look(tx, detail))

    return of


def test_a_task_that_waits_is_explained(ledger, ask):
    ledger.send("lost", "first", "second")
    assert ask("first").answer == "No worker is alive."
    ledger.worker("w1")
    assert ask("lost").answer == "It is the next of its queue: a worker takes it in a moment."
    assert ask("first").answer == "1 task of its queue goes first."
    assert ask("second").answer == "2 tasks of its queue go first."
    ledger.send("elsewhere", queue="celry")
    answer = ask("elsewhere")
    assert answer.answer == "No live worker consumes queue 'celry'."
    assert answer.facts[-1] == "'celery' is spelled almost like 'celry'."
    assert answer.is_stuck
    ledger.send("later", eta="2999-01-01T00:00:00+00:00")
    assert ask("later").answer.startswith("It is scheduled for 2999-01-01 00:00:00Z")
    (leased,) = ledger.take("w1", 1)
    assert ask("lost").answer == "Worker w1@host has it, and has not begun it yet."
    ledger.start(leased.lease)
    assert ask("lost").answer.startswith("It runs: w1@host has run it for")
    ledger.write("UPDATE mirepoix_worker SET concurrency = 1")
    assert ask("first").answer == "It is the next of its queue, and every worker that takes it is busy."
    ledger.succeed(leased.lease)
    assert ask("lost").answer.startswith("It has run")
    assert ask("second").starts_in_s is not None


def test_a_task_that_ended_is_explained(ledger, ask):
    ledger.worker("w1")
    ledger.send("failed", "cancelled")
    ledger.fail(ledger.lease("w1"))
    assert ask("failed") == Why(
        "It failed, and no retry is left. It waits for a decision.",
        ("Reason: it went wrong.",),
        "Fix the cause, then retry it, or discard it.",
        is_stuck=True,
    )
    ledger.cancel("cancelled")
    assert ask("cancelled").answer == "It was cancelled."
    ledger.send("quarantined")
    lease = ledger.lease("w1")
    ledger.write("UPDATE mirepoix_task SET deaths = 2 WHERE id = 'quarantined'")
    ledger.lose(lease)
    assert ask("quarantined").answer == "It is quarantined: 3 processes died while it ran."


def test_a_task_of_a_dead_worker_is_explained(ledger, ask):
    ledger.worker("w1")
    ledger.send("orphan")
    ledger.start(ledger.lease("w1"))
    ledger.die("w1")
    answer = ask("orphan")
    assert answer.answer == "Its worker w1@host is dead, and no other worker is alive to take the task back."
    assert answer.is_stuck
    ledger.worker("w2")
    assert ask("orphan").answer.startswith("Its worker w1@host is dead. A live worker takes the task back")


def test_a_task_that_the_broker_has_not_got_is_explained(ledger, ask):
    ledger.worker("w1")
    ledger.send("unsent", sent_fence=-1)
    answer = ask("unsent")
    assert answer.answer == "Its message is not in the broker, and no relay is alive to publish it."
    ledger.write("UPDATE mirepoix_task SET sent_fence = 0 WHERE id = 'unsent'")
    assert ask("unsent").answer == "Its message is in the broker, and no worker has received it yet."


def test_a_scheduled_task_of_a_paused_name_waits_for_both(ledger, ask):
    ledger.worker("w1")
    ledger.send("later", eta="2999-01-01T00:00:00+00:00")
    ledger.do(holds.pause, holds.Kind.TASK, "shop.pay", "ann", "")
    found = ask("later")
    assert found.answer.startswith("It is scheduled for 2999-01-01")
    assert found.facts[-1].startswith("Task 'shop.pay' is paused by ann since")
    assert found.next_step == "Resume it: mirepoix resume task shop.pay"
