"""Which share of a task's attempts fails now, and since when a release runs."""

from __future__ import annotations

from driver import envelope
from mirepoix.dashboard.pages.overview import Place, where
from mirepoix.ledger import enqueue, workers
from mirepoix.ledger.query.pace import Share, pace, shares
from mirepoix.ledger.query.releases import releases
from mirepoix.operations.findings import failing
from mirepoix.operations.look import look_in
from mirepoix.operations.verdict import verdict
from mirepoix.records import Worker


def lately(tx):
    return shares(tx, pace(tx))


def test_attempts_that_failed_died_and_succeeded_lately_are_counted_by_task(ledger):
    ledger.worker("w1")
    ledger.do(enqueue.add, [envelope(f"pay-{n}", name="shop.pay") for n in range(4)])
    ledger.do(enqueue.add, [envelope("mail", name="shop.mail"), envelope("big", name="shop.big")])
    leases = {taken.lease.task_id: taken.lease for taken in ledger.take("w1")}
    for task_id in ("pay-0", "mail"):
        ledger.succeed(leases[task_id])
    ledger.fail(leases["pay-1"])
    ledger.retry(leases["pay-2"], retries=1)
    ledger.lose(leases["big"], delay_s=60)
    # pay-2 is ready again, and is counted when it is taken.
    assert ledger.do(lately) == [Share("shop.big", 0, 0, 1), Share("shop.pay", 1, 1, 0)]
    assert ledger.do(lately)[1].failing == 1 / 2
    (again,) = (taken.lease for taken in ledger.take("w1"))
    assert again.task_id == "pay-2"
    ledger.succeed(again)
    assert ledger.do(lately)[0] == Share("shop.pay", 2, 2, 0)
    ledger.passes(301)
    assert ledger.do(lately) == []


def test_only_a_task_with_many_failed_attempts_is_failing():
    few, seldom, many = Share("few", 0, 4, 0), Share("seldom", 95, 5, 0), Share("many", 7, 2, 3)
    (found,) = failing([few, seldom, many])
    assert (found.name, found.count, found.ended) == ("many", 5, 12)
    said = verdict([found], 60.0)
    assert said.sentence == "42 % of the latest 12 attempts of many failed, 3 times because the process died."
    assert "memory" in said.next_step


def test_a_task_that_runs_longer_than_usual_is_the_verdict_if_all_else_is_well(ledger):
    ledger.worker("w1")
    ledger.send(*(f"quick-{n}" for n in range(25)), name="shop.query")
    for taken in ledger.take("w1"):
        ledger.start(taken.lease)
        ledger.succeed(taken.lease)
    ledger.send("slow-1", name="shop.query")
    (taken,) = ledger.take("w1")
    ledger.start(taken.lease)
    ledger.passes(30)
    ledger.do(workers.heartbeat, "w1", 1_000.0)
    seen = ledger.do(look_in)
    assert seen.verdict.sentence.startswith("Task shop.query has run for 30s, longer than usual")
    assert where(seen.findings[0], seen) == Place("/tasks/slow-1")


def test_a_release_is_as_old_as_its_first_worker(ledger):
    def register(worker_id, software):
        seen = Worker(id=worker_id, name=worker_id, host="h", pid=1, queues=("celery",), software=software)
        ledger.do(workers.register, seen, 1_000.0)

    register("unnamed", {"celery": "5.6.3"})
    register("old", {"celery": "5.6.3", "release": "1"})
    register("other", {"celery": "5.7.0", "release": "1"})
    ledger.passes(100)
    register("new", {"celery": "5.7.0", "release": "2"})
    ledger.die("other")
    found = ledger.do(releases)
    assert [(one.name, one.alive) for one in found] == [("2", 1), ("1", 1)]
    assert 99 < (found[0].first_at - found[1].first_at).total_seconds() < 160
