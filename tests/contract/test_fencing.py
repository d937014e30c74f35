"""A lost attempt can change nothing: every outcome is refused to every kind of zombie, on every database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driver import OOPS, Ledger, envelope
from mirepoix.ledger import finish, reap, take
from mirepoix.records import Completion, Lease

OUTCOMES: dict[str, Callable[[Ledger, Lease], object]] = {
    "succeed": lambda ledger, lease: ledger.succeed(lease),
    "succeed with continuations": lambda ledger, lease: ledger.do(
        finish.succeed_with, Completion(lease), [envelope("continuation")]
    ),
    "fail": lambda ledger, lease: ledger.do(finish.fail, lease, OOPS, [envelope("continuation")]),
    "retry": lambda ledger, lease: ledger.do(
        finish.retry, lease, envelope(lease.task_id, name="other"), OOPS, [envelope("continuation")]
    ),
    "park": lambda ledger, lease: ledger.do(finish.park, lease, OOPS),
    "revoke": lambda ledger, lease: ledger.do(finish.revoke, lease, OOPS),
    "expire": lambda ledger, lease: ledger.do(finish.expire, lease, OOPS),
    "give back": lambda ledger, lease: ledger.give_back(lease.worker_id, [lease]),
    "start": lambda ledger, lease: ledger.start(lease),
    "lose, blamed": lambda ledger, lease: ledger.lose(lease),
    "lose, unblamed": lambda ledger, lease: ledger.lose(lease, is_blamed=False),
}


def after_lose(ledger: Ledger, lease: Lease) -> None:
    ledger.lose(lease)


def after_lose_and_retake_by_another(ledger: Ledger, lease: Lease) -> None:
    ledger.lose(lease)
    ledger.lease(ledger.worker("other"))


def after_lose_and_retake_by_itself(ledger: Ledger, lease: Lease) -> None:
    ledger.lose(lease)
    ledger.lease(lease.worker_id)


def after_retake_and_start_by_another(ledger: Ledger, lease: Lease) -> None:
    ledger.lose(lease)
    ledger.start(ledger.lease(ledger.worker("other")))


def after_give_back(ledger: Ledger, lease: Lease) -> None:
    assert ledger.give_back(lease.worker_id, [lease]) == 1


def after_giving_everything_back(ledger: Ledger, lease: Lease) -> None:
    assert ledger.give_back(lease.worker_id) == 1


def after_give_back_and_retake_by_another(ledger: Ledger, lease: Lease) -> None:
    ledger.give_back(lease.worker_id)
    ledger.lease(ledger.worker("other"))


def after_its_worker_was_declared_dead(ledger: Ledger, lease: Lease) -> None:
    ledger.die(lease.worker_id)
    assert len(ledger.reap()) == 1


def after_its_worker_died_and_another_took_it(ledger: Ledger, lease: Lease) -> None:
    ledger.die(lease.worker_id)
    ledger.reap()
    ledger.lease(ledger.worker("other"))


def after_success(ledger: Ledger, lease: Lease) -> None:
    assert ledger.succeed(lease)


def after_failure(ledger: Ledger, lease: Lease) -> None:
    assert ledger.fail(lease)


def after_retry(ledger: Ledger, lease: Lease) -> None:
    assert ledger.retry(lease)


def after_quarantine(ledger: Ledger, lease: Lease) -> None:
    ledger.write("UPDATE mirepoix_task SET deaths = 2, handovers = 9")
    lost = ledger.lose(lease)
    assert lost is not None
    assert lost.state == "quarantined"


def after_success_and_rearm(ledger: Ledger, lease: Lease) -> None:
    ledger.succeed(lease)
    assert ledger.send(lease.task_id) == {lease.task_id}


def after_failure_and_requeue_and_retake(ledger: Ledger, lease: Lease) -> None:
    ledger.fail(lease)
    ledger.requeue(lease.task_id)
    ledger.lease(lease.worker_id)


def after_it_was_pruned(ledger: Ledger, lease: Lease) -> None:
    ledger.write("DELETE FROM mirepoix_task")


WAYS_TO_LOSE = {name.replace("_", " "): way for name, way in list(globals().items()) if name.startswith("after_")}


@pytest.mark.parametrize("lost", WAYS_TO_LOSE)
def test_a_lost_attempt_can_write_no_outcome(ledger: Ledger, lost: str):
    ledger.worker("w1")
    for started in (False, True):
        ledger.write("DELETE FROM mirepoix_task")
        ledger.write("DELETE FROM mirepoix_worker WHERE id <> 'w1'")
        ledger.write("UPDATE mirepoix_worker SET state = 'alive'")
        ledger.send("t")
        lease = ledger.lease("w1")
        if started:
            assert ledger.start(lease) == {"t"}
        WAYS_TO_LOSE[lost](ledger, lease)
        before = _everything(ledger)
        for outcome, report in OUTCOMES.items():
            assert not report(ledger, lease), outcome
            assert _everything(ledger) == before, outcome


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_lease_under_another_fence_is_refused(ledger: Ledger, outcome: str):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    before = _everything(ledger)
    for fence in (lease.fence - 1, lease.fence + 1):
        assert not OUTCOMES[outcome](ledger, Lease("t", fence, "w1"))
    assert _everything(ledger) == before


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_lease_of_another_worker_is_refused(ledger: Ledger, outcome: str):
    ledger.worker("w1")
    ledger.worker("w2")
    ledger.send("t")
    lease = ledger.lease("w1")
    before = _everything(ledger)
    assert not OUTCOMES[outcome](ledger, Lease("t", lease.fence, "w2"))
    assert _everything(ledger) == before


@pytest.mark.parametrize("outcome", [name for name in OUTCOMES if name != "start"])
def test_an_outcome_is_taken_once(ledger: Ledger, outcome: str):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    assert OUTCOMES[outcome](ledger, lease)
    before = _everything(ledger)
    assert not OUTCOMES[outcome](ledger, lease)
    assert _everything(ledger) == before


def test_in_one_batch_the_zombies_are_refused_and_the_others_are_not(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", "b", "c", "d")
    leases = {taken.lease.task_id: taken.lease for taken in ledger.take("w1")}
    ledger.lose(leases["b"])
    ledger.do(finish.revoke, leases["c"], OOPS)
    assert ledger.do(take.start, "w1", [(lease, 0.0, 1) for lease in leases.values()]) == {"a", "d"}
    assert ledger.do(finish.succeed, "w1", [Completion(lease) for lease in leases.values()]) == {"a", "d"}
    assert ledger.states() == {"a": "succeeded", "b": "pending", "c": "cancelled", "d": "succeeded"}


def test_the_fence_rises_by_one_with_each_lease_and_never_falls(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    seen = []
    for end in (ledger.lose, ledger.retry, ledger.fail, ledger.succeed):
        lease = ledger.lease("w1")
        seen.append(lease.fence)
        end(lease)
        if end == ledger.fail:
            ledger.requeue("t")
    ledger.send("t")
    seen.append(ledger.lease("w1").fence)
    ledger.give_back("w1")
    seen.append(ledger.lease("w1").fence)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_a_worker_declared_dead_may_still_finish_until_its_task_was_taken_back(ledger: Ledger):
    # One at a time is kept by the task's row alone: whoever writes it first, the other is refused.
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    ledger.die("w1")
    assert ledger.succeed(lease)
    assert ledger.reap() == []
    assert ledger.state("t") == "succeeded"


def test_an_outcome_that_was_recorded_is_told_from_a_lost_lease(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    assert not ledger.do(finish.is_settled, lease)
    ledger.succeed(lease)
    assert ledger.do(finish.is_settled, lease)
    ledger.send("t")
    assert not ledger.do(finish.is_settled, Lease("t", lease.fence + 1, "w1"))
    ledger.lease("w1")
    assert ledger.do(finish.is_settled, lease)
    assert not ledger.do(finish.is_settled, Lease("unknown", 1, "w1"))


def test_a_continuation_of_a_refused_outcome_is_not_sent(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    ledger.lose(lease)
    for outcome in ("succeed with continuations", "fail", "retry"):
        OUTCOMES[outcome](ledger, lease)
    assert set(ledger.states()) == {"t"}


def test_losing_a_task_twice_is_no_news(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    assert ledger.do(reap.lose, lease, OOPS, ledger.settings, is_blamed=True, outcome="lost") is not None
    assert ledger.do(reap.lose, lease, OOPS, ledger.settings, is_blamed=True, outcome="lost") is None
    assert ledger.row("t")["deaths"] == 1


def _everything(ledger: Ledger) -> list[object]:
    tables = ("mirepoix_task", "mirepoix_attempt", "mirepoix_worker")
    return [ledger.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
