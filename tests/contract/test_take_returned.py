"""Taking from the ledger what a worker had before, with a broker in front: only that, and in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from driver import Ledger
from mirepoix.ledger import take
from mirepoix.records import Lease


def take_returned(ledger: Ledger, worker_id: str, batch: int = 100, queues: Sequence[str] = ("celery",)) -> list[str]:
    return [taken.lease.task_id for taken in ledger.do(take.take_returned, worker_id, queues, batch)]


def has_returned(ledger: Ledger, *queues: str, may_be_suspect: bool = True) -> bool:
    return ledger.do(take.has_returned, queues or ("celery",), may_be_suspect=may_be_suspect)


@pytest.fixture
def worker(ledger: Ledger) -> str:
    ledger.worker("w1")
    return ledger.worker("w2")


def given_back(ledger: Ledger) -> None:
    ledger.give_back("w1")


def lost_with_its_worker(ledger: Ledger) -> None:
    ledger.die("w1", "silent")
    ledger.reap()


def lost_with_its_process(ledger: Ledger) -> None:
    ledger.lose(_held(ledger))


def retried(ledger: Ledger) -> None:
    ledger.retry(_held(ledger))


def retried_later(ledger: Ledger) -> None:
    ledger.lose(_held(ledger), is_blamed=False, delay_s=60)
    assert not has_returned(ledger)
    assert take_returned(ledger, "w2") == []
    ledger.passes(61)
    ledger.do(take.release_due)


def requeued(ledger: Ledger) -> None:
    ledger.fail(_held(ledger))
    ledger.requeue("t")


def _held(ledger: Ledger) -> Lease:
    row = ledger.row("t")
    return Lease("t", row["fence"], row["worker_id"])


@pytest.mark.parametrize(
    "comes_back",
    [given_back, lost_with_its_worker, lost_with_its_process, retried, retried_later, requeued],
    ids=lambda one: one.__name__,
)
def test_what_a_worker_had_is_taken_and_nothing_that_waits_for_the_first_time(
    ledger: Ledger, worker: str, comes_back: Callable[[Ledger], None]
):
    ledger.send("t")
    assert not has_returned(ledger)
    assert take_returned(ledger, worker) == []
    assert ledger.take_ids("w1") == ["t"]
    ledger.send("new")
    assert not has_returned(ledger)
    comes_back(ledger)
    assert has_returned(ledger)
    assert take_returned(ledger, worker) == ["t"]
    row = ledger.row("t")
    assert (row["state"], row["fence"], row["worker_id"]) == ("leased", 2, worker)
    assert not has_returned(ledger)
    assert ledger.state("new") == "pending"


def test_the_highest_priority_goes_first_then_the_oldest_and_the_queues_take_turns(ledger: Ledger, worker: str):
    for task_id, priority in (("a", 0), ("b", 5), ("c", 9), ("d", 5)):
        ledger.send(task_id, priority=priority)
    ledger.send("x", queue="other")
    ledger.send("y", queue="not consumed")
    assert len(ledger.take_ids("w1", queues=["celery", "other", "not consumed"])) == 6
    ledger.give_back("w1")
    assert has_returned(ledger, "not consumed")
    assert not has_returned(ledger, "nothing here")
    assert take_returned(ledger, worker, 2) == ["c", "b"]
    assert take_returned(ledger, worker, 9, ["celery", "other"]) == ["d", "x", "a"]
    assert not has_returned(ledger, "celery", "other")
    assert ledger.state("y") == "pending"


def test_only_one_suspect_is_taken_and_none_beside_another(ledger: Ledger, worker: str):
    ledger.send("s1", "s2")
    ledger.take("w1")
    ledger.die("w1")
    ledger.reap()
    assert not has_returned(ledger, may_be_suspect=False)
    assert has_returned(ledger)
    assert take_returned(ledger, worker) == ["s1"]
    assert ledger.do(take.take_returned, worker, ["celery"], 9, may_be_suspect=False) == []


def test_an_expired_task_is_not_taken(ledger: Ledger, worker: str):
    ledger.send("t", expires=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    ledger.write("UPDATE mirepoix_task SET fence = 1")
    assert not has_returned(ledger)
    assert take_returned(ledger, worker) == []


def test_a_worker_that_was_declared_dead_takes_nothing(ledger: Ledger, worker: str):
    ledger.send("t")
    ledger.take("w1")
    ledger.give_back("w1")
    ledger.die("w1")
    assert take_returned(ledger, "w1") == []
    assert ledger.row("t")["fence"] == 1


def test_a_message_and_the_ledger_give_the_same_task_to_one_worker(ledger: Ledger, worker: str):
    """Whoever comes first has it: the other finds nothing to lease."""
    ledger.worker("w3")
    ledger.send("a", "b")
    ledger.take("w1")
    ledger.give_back("w1")
    assert take_returned(ledger, "w2", 1) == ["a"]
    by_message = ledger.do(take.take_by_id, "w3", ["a", "b"])
    assert [taken.lease.task_id for taken in by_message] == ["b"]
    assert take_returned(ledger, "w2") == []
    assert ledger.do(take.readiness, ["a"]) == {"a": False}
