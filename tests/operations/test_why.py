"""Why a task does not run: each answer, from a real ledger."""

from __future__ import annotations

import pytest

from driver import Ledger
from mirepoix.ledger import holds, limits, take
from mirepoix.ledger.limits import Bounds
from mirepoix.ledger.query.limits import waiting_names
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.operations.health import checks_of_limits, overview
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


def test_a_task_that_waits_at_its_limit_is_explained(ledger, ask):
    ledger.worker("w1")
    ledger.do(limits.put, "pay", Bounds(2), "ana")
    ledger.do(limits.add_keys, ["pay:ann", "pay:bob"])
    ledger.send("a", "b", "c", "d", limit_key="pay:ann")
    assert ask("a").answer == "Its limit 'pay' has room for 'ann': a worker takes it when its turn comes."
    ledger.do(take.take_limited, "w1", [("celery", "pay:ann", 2)])
    answer = ask("d")
    assert answer.answer == "It waits at the limit 'pay': 2 of 2 tasks for 'ann' are with workers."
    assert answer.facts == (
        "These have the slots: a (w1), b (w1).",
        "The limit 'pay' allows 2 at once for each key. It was set by ana.",
        "1 task of the same key goes first.",
    )
    assert not answer.is_stuck
    ledger.do(limits.put, "pay", Bounds(0), "ana")
    assert ask("c").is_stuck
    ledger.do(limits.put, "pay", Bounds(None, 1, 60.0), "ana")
    found = ledger.do(limits.read)
    ledger.do(limits.note_taken, {"pay:ann": 1}, {"pay:ann": None}, found)
    answer = ask("c")
    assert answer.answer.startswith("It waits at the limit 'pay': its rate for 'ann' is used up, and allows the next")
    assert 58 < answer.starts_in_s <= 60.1
    ledger.do(limits.remove, "pay")
    assert ask("c").facts == ("The ledger has no limit 'pay', so this task has none.",)


def test_a_task_of_a_paused_key_or_limit_is_explained(ledger, ask):
    ledger.worker("w1")
    ledger.do(limits.put, "pay", Bounds(2), "ana")
    ledger.send("a", limit_key="pay:ann")
    ledger.send("b", limit_key="pay:bob")
    ledger.do(holds.pause, holds.Kind.LIMIT, "pay:ann", "ana", "it complains")
    answer = ask("a")
    assert answer.answer.startswith("Its limit 'pay:ann' is paused by ana since")
    assert answer.answer.endswith("it complains.")
    assert answer.next_step == "Resume it: mirepoix resume limit pay:ann"
    assert "has room" in ask("b").answer
    ledger.do(holds.pause, holds.Kind.LIMIT, "pay", "ana", "")
    assert ask("b").answer.startswith("Its limit 'pay' is paused by ana since")


def test_tasks_at_a_limit_do_not_make_a_queue_late_and_an_unknown_limit_is_reported(ledger):
    ledger.worker("w1")
    ledger.do(limits.put, "pay", Bounds(1), "ana")
    ledger.send("a", "b", limit_key="pay:ann")
    ledger.send("c", limit_key="mail")
    ledger.passes(1_000)
    with ledger.connection.reading() as tx:
        seen = overview(tx, 60.0)
        (check,) = checks_of_limits(tx, seen.queues)
        assert waiting_names(tx, ["celery", "other"]) == {"pay", "mail"}
    (load,) = [load for load in seen.queues if load.queue == "celery"]
    assert (load.waiting, load.late, load.oldest_s) == (3, 0, None)
    assert not check.is_ok
    assert "'mail', which the ledger does not have" in check.message
    ledger.do(limits.put, "mail", Bounds(0), "ana")
    with ledger.connection.reading() as tx:
        (check,) = checks_of_limits(tx, seen.queues)
    assert (check.is_ok, check.message) == (True, "2 limits; 'mail' lets no task begin")
