"""What other code parked is taken up by a worker whose code can take it, once, and by no other."""

from __future__ import annotations

import threading

import pytest

from driver import Ledger, envelope
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.daemons.leases import MOST_TRIES, RESUMED_AHEAD, Leases
from mirepoix.ledger import enqueue, finish, take
from mirepoix.records import AttemptFailure, IncompatibilityKind, Lease, Worker

PAY = '[["shop.pay",1,1,[]]]'
SHIP = '[["shop.ship",1,1,[]]]'


def park(
    ledger: Ledger,
    task_id: str,
    lacking: IncompatibilityKind | None = IncompatibilityKind.ARGUMENTS,
    shape: str | None = PAY,
    **fields,
) -> Lease:
    """A task that a worker's code could not take."""
    ledger.do(enqueue.add, [envelope(task_id, shape=shape, **fields)])
    (taken,) = ledger.take("old", queues=[fields.get("queue", "celery")])
    assert ledger.do(finish.park, taken.lease, AttemptFailure("no"), lacking, '[["unknown",1,null,null]]')
    return taken.lease


@pytest.fixture(autouse=True)
def old(ledger: Ledger) -> str:
    """The worker that parks."""
    return ledger.worker("old")


def up(ledger: Ledger, worker_id: str, *task_ids: str) -> list[str]:
    """Take them up; the ids that were."""
    return [one.lease.task_id for one in ledger.do(take.resume_parked, worker_id, task_ids)]


def test_it_is_leased_by_the_worker_under_a_higher_fence(ledger: Ledger):
    before = park(ledger, "t")
    assert ledger.row("t")["parked_for"] == "arguments"
    new = ledger.worker("new")
    (taken,) = ledger.do(take.resume_parked, new, ["t"])
    row = ledger.row("t")
    assert (taken.lease.worker_id, taken.lease.fence) == ("new", before.fence + 1)
    assert (row["state"], row["worker_id"], row["parked_for"], row["finished_at"]) == ("leased", "new", None, None)
    assert taken.body == row["body"]
    assert ledger.succeed(taken.lease)


def test_whoever_parked_it_can_write_nothing_any_more(ledger: Ledger):
    before = park(ledger, "t")
    up(ledger, ledger.worker("new"), "t")
    assert not ledger.succeed(before)
    assert not ledger.fail(before)
    assert not ledger.do(finish.park, before, AttemptFailure("again"), IncompatibilityKind.TASK)


def test_of_two_workers_one_gets_it(ledger: Ledger, source: Source):
    for number in range(20):
        park(ledger, f"t{number}")
    ids = [f"t{number}" for number in range(20)]
    ledger.worker("a")
    ledger.worker("b")
    got: dict[str, list[str]] = {}

    def resume_parked(worker_id: str) -> None:
        with Ledger(source) as own:
            got[worker_id] = up(own, worker_id, *ids)

    threads = [threading.Thread(target=resume_parked, args=(worker_id,)) for worker_id in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got["a"] + got["b"]) == sorted(ids)


def test_a_dead_worker_takes_up_nothing(ledger: Ledger):
    park(ledger, "t")
    ledger.worker("dead")
    ledger.die("dead")
    assert up(ledger, "dead", "t") == []
    assert ledger.state("t") == "parked"


def test_what_no_code_can_take_and_what_is_not_parked_stays(ledger: Ledger):
    park(ledger, "unreadable", None)
    park(ledger, "cancelled")
    ledger.cancel("cancelled")
    park(ledger, "requeued")
    ledger.requeue("requeued")
    ledger.send("waits")
    assert up(ledger, ledger.worker("new"), "unreadable", "waits", "cancelled", "requeued", "nothing") == []
    assert ledger.row("requeued")["parked_for"] is None


def test_each_kind_is_told_once_however_many_there_are(ledger: Ledger):
    for number in range(5):
        park(ledger, f"pay{number}")
    park(ledger, "ship", shape=SHIP)
    park(ledger, "unknown", IncompatibilityKind.TASK, shape=None)
    park(ledger, "unreadable", None, shape='[["shop.broken",1,0,[]]]')
    up(ledger, ledger.worker("new"), "ship")
    assert sorted(ledger.do(take.parked_shapes)) == sorted([PAY, '[["unknown",1,null,null]]'])


def test_of_a_kind_the_oldest_come_first_of_the_queues_and_without_those_that_were_tried(ledger: Ledger):
    for number in range(4):
        park(ledger, f"t{number}", queue="celery" if number else "elsewhere")
    park(ledger, "ship", shape=SHIP)
    assert ledger.do(take.parked_of_shape, PAY, ["celery"], 2) == ["t1", "t2"]
    assert ledger.do(take.parked_of_shape, PAY, ["celery"], 9, ["t1"]) == ["t2", "t3"]
    assert ledger.do(take.parked_of_shape, PAY, ["celery", "elsewhere"], 9) == ["t0", "t1", "t2", "t3"]


def test_a_worker_resumes_what_its_code_can_take_and_no_more_than_it_has_places_for(ledger: Ledger, source: Source):
    for number in range(RESUMED_AHEAD + 5):
        park(ledger, f"pay{number}")
    park(ledger, "ship", shape=SHIP)
    leases = held(source, lambda shape: shape == PAY)
    assert leases.resume_parked(ledger.connection) is True
    assert len(leases.resumed) == len(leases.held) == RESUMED_AHEAD
    assert leases.resume_parked(ledger.connection) is False
    leases.resumed.clear()
    assert leases.resume_parked(ledger.connection) is False
    assert len(leases.resumed) == 5
    assert ledger.state("ship") == "parked"
    leases.close()
    assert {state for id, state in ledger.states().items() if id != "ship"} == {"pending"}


def test_a_worker_gives_up_what_its_code_refuses_each_time(ledger: Ledger, source: Source):
    park(ledger, "t")
    leases = held(source, lambda _: True)
    for _ in range(MOST_TRIES):
        leases.resume_parked(ledger.connection)
        lease = leases.resumed.popleft().lease
        assert ledger.do(finish.park, lease, AttemptFailure("its upcaster failed"), IncompatibilityKind.UPCAST)
        leases.held.forget(lease.key)
    leases.resume_parked(ledger.connection)
    assert not leases.resumed
    assert ledger.state("t") == "parked"
    leases.close()


def test_a_worker_that_stops_resumes_nothing(ledger: Ledger, source: Source):
    park(ledger, "t")
    leases = held(source, lambda _: True)
    leases.begin_to_stop()
    leases.resume_parked(ledger.connection)
    assert ledger.state("t") == "parked"
    leases.close()


def held(source: Source, can_take) -> Leases:
    """The leases of a worker with one slot."""
    worker = Worker("", "new", "host", 1, "prefork", 1, ("celery",), {})
    leases = Leases(source, Settings(), worker, can_take=can_take)
    leases.incarnation.register()
    return leases
