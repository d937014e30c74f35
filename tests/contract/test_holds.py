"""What is paused: who says so, which tasks are held, and how they come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.daemons.leases import Leases
from mirepoix.ledger import holds, operate, reap, take
from mirepoix.ledger.holds import Kind
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.ledger.query.tasks import states_of
from mirepoix.records import Worker
from mirepoix.states import State


def pause(ledger: Ledger, name: str = "shop.pay") -> bool:
    """Pause tasks of that name."""
    return ledger.do(holds.pause, Kind.TASK, name, "ann", "the bank is down")


def resume(ledger: Ledger, name: str = "shop.pay") -> int:
    """Resume them, and release what was held."""
    assert ledger.do(holds.resume, Kind.TASK, name, "bob", "")
    return holds.release(ledger.connection, holds.name_of(Kind.TASK, name))


def hold(ledger: Ledger, *task_ids: str, name: str = "shop.pay", worker: str = "w1") -> set[str]:
    """A worker takes tasks and sees that their name is paused."""
    leases = [taken.lease for taken in ledger.take(worker) if not task_ids or taken.lease.task_id in task_ids]
    return ledger.do(holds.hold_taken, worker, name, leases)


def test_what_is_paused_twice_stays_paused_by_whom_it_was(ledger: Ledger):
    assert pause(ledger)
    assert not ledger.do(holds.pause, Kind.TASK, "shop.pay", "bob", "me too")
    (found,) = ledger.do(holds.read)
    assert (found.kind, found.value, found.paused_by, found.note) == (
        Kind.TASK,
        "shop.pay",
        "ann",
        "the bank is down",
    )
    assert found.paused_s < 60
    assert ledger.do(holds.resume, Kind.TASK, "shop.pay", "bob", "it is up")
    assert not ledger.do(holds.resume, Kind.TASK, "shop.pay", "bob", "it is up")
    assert [(act.verb, act.decided_by) for act in ledger.do(holds.history, 9)] == [("resume", "bob"), ("pause", "ann")]


@pytest.mark.parametrize("is_suspect", [False, True], ids=["task", "suspect"])
def test_the_old_message_of_a_moved_task_does_not_lease_it(source: Source, ledger: Ledger, is_suspect: bool):
    ledger.worker("w1")
    ledger.send("a", "b")
    if is_suspect:
        ledger.write("UPDATE mirepoix_task SET is_suspect = 1")
    assert ledger.do(operate.move, ["a"], "other") == ["a"]
    leases = Leases(source, Settings(), Worker("w1", "w1", "host", 1, queues=("celery",)))
    received = leases.record_and_receive(ledger.connection, ["a", "b"])
    assert [task.lease.task_id for task in received.taken] == ["b"]
    assert received.known["a"] is False
    assert (ledger.row("a")["state"], ledger.row("a")["queue"]) == (State.PENDING, "other")


def test_a_task_that_is_held_is_not_taken_until_it_is_released_in_its_old_place(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", "b")
    pause(ledger)
    assert hold(ledger) == {"a", "b"}
    ledger.send("c", name="shop.mail")
    assert ledger.take_ids("w1") == ["c"]
    row = ledger.row("a")
    assert (row["state"], row["held_by"], row["fence"], row["worker_id"]) == ("pending", "task shop.pay", 1, None)
    assert ledger.do(take.release_due) == 0
    ledger.send("d")
    assert resume(ledger) == 2
    assert ledger.take_ids("w1") == ["a", "b", "d"]
    assert ledger.row("a")["held_by"] is None


def test_many_are_held_at_once_and_others_are_not_touched(ledger: Ledger):
    ledger.worker("w1")
    ledger.send(*(f"p{n}" for n in range(5)))
    ledger.send("m", name="shop.mail")
    ledger.send("behind")
    ledger.send("other", queue="other")
    assert ledger.do(holds.hold_ready, ["celery"], ["shop.pay"]) == 0  # it is not paused
    pause(ledger)
    assert ledger.do(holds.hold_ready, ["celery"], ["shop.pay"], 6) == 5
    assert ledger.do(holds.hold_ready, ["celery"], ["shop.pay"], 6) == 1
    assert ledger.take_ids("w1", queues=["celery", "other"]) == ["m", "other"]
    (found,) = ledger.do(holds.held)
    assert (found.queue, found.name, found.held_by, found.tasks) == ("celery", "shop.pay", "task shop.pay", 6)
    assert ledger.row("p0")["fence"] == 0


def test_with_a_broker_a_task_is_held_when_its_message_comes_and_found_as_one_that_came_back(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", sent_fence=0)
    pause(ledger)
    assert ledger.do(holds.hold_ready, ["celery"], ["shop.pay"]) == 0  # its message would find nothing to lease
    (taken,) = ledger.do(take.take_by_id, "w1", ["t"])
    assert ledger.do(holds.hold_taken, "w1", "shop.pay", [taken.lease]) == {"t"}
    assert ledger.do(take.readiness, ["t"]) == {"t": False}
    assert not ledger.do(take.has_returned, ["celery"])
    resume(ledger)
    assert ledger.do(take.has_returned, ["celery"])
    pause(ledger)
    assert ledger.do(holds.hold_ready, ["celery"], ["shop.pay"]) == 1
    resume(ledger)
    (taken,) = ledger.do(take.take_returned, "w1", ["celery"], 9)
    assert taken.lease.fence == 2


def test_tasks_of_a_hold_that_is_gone_are_found_and_released(ledger: Ledger):
    """Whoever resumed was killed before it had released them."""
    ledger.worker("w1")
    ledger.send("a", name="shop.mail")
    ledger.send("b")
    pause(ledger)
    pause(ledger, "shop.mail")
    hold(ledger, "b")
    ledger.do(holds.hold_taken, "w1", "shop.mail", [])
    assert ledger.do(holds.orphaned) == []
    ledger.do(holds.resume, Kind.TASK, "shop.pay", "bob", "")
    assert ledger.do(holds.orphaned) == ["task shop.pay"]
    assert holds.release(ledger.connection, "task shop.pay") == 1
    assert ledger.do(holds.orphaned) == []


def test_what_is_paused_again_meanwhile_is_not_released(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    pause(ledger)
    hold(ledger)
    ledger.do(holds.resume, Kind.TASK, "shop.pay", "bob", "")
    pause(ledger)
    assert holds.release(ledger.connection, "task shop.pay") == 0
    assert ledger.take_ids("w1") == []


def test_a_worker_that_has_not_read_of_the_resume_keeps_what_it_took(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    assert hold(ledger) == set()
    assert ledger.state("t") == "leased"


def test_a_held_task_can_be_cancelled_requeued_and_expires(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", "b")
    ledger.send("e", expires=(datetime.now(UTC) + timedelta(seconds=60)).isoformat())
    pause(ledger)
    assert hold(ledger) == {"a", "b", "e"}
    assert ledger.do(states_of, ["a"]) == {"a": (State.PENDING, False)}
    assert ledger.do(operate.run_now, ["a"]) == []
    detail = ledger.do(task_detail, "a")
    assert (detail.held_by, detail.due_at, detail.due_in_s) == ("task shop.pay", None, None)
    assert ledger.cancel("a") == ["a"]
    assert ledger.requeue("a") == ["a"]
    assert ledger.do(task_detail, "a").held_by is None
    assert ledger.take_ids("w1") == ["a"]
    ledger.write("UPDATE mirepoix_task SET expires_at = created_at WHERE id = 'e'")
    assert list(ledger.do(reap.expire)) == ["e"]
    assert resume(ledger) == 1


def test_two_operators_release_each_task_once(ledger: Ledger, source: Source):
    ledger.worker("w1")
    ledger.send(*(f"t{n}" for n in range(9)))
    pause(ledger)
    hold(ledger)
    ledger.do(holds.resume, Kind.TASK, "shop.pay", "bob", "")
    with Ledger(source) as other:
        released = holds.release(other.connection, "task shop.pay")
        assert released + holds.release(ledger.connection, "task shop.pay") == 9
