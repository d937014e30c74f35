"""What an operator may decide: cancel, requeue, run now, discard, purge, prune."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from driver import OOPS, Ledger, envelope, rolled_back, until_somebody_waits_for_a_lock
from mirepoix.connect.source import Source
from mirepoix.ledger import finish, operate, take
from mirepoix.records import AttemptFailure
from mirepoix.states import State

CANCELLABLE = {"pending", "parked"}
REQUEUEABLE = {"failed", "quarantined", "parked", "cancelled", "expired"}
DISCARDABLE = {"failed", "quarantined", "parked"}
PRUNABLE = {"succeeded", "cancelled", "expired"}


@pytest.mark.parametrize(
    ("decide", "states", "target"),
    [
        (operate.cancel, CANCELLABLE, "cancelled"),
        (operate.requeue, REQUEUEABLE, "pending"),
        (operate.discard, DISCARDABLE, "cancelled"),
    ],
    ids=["cancel", "requeue", "discard"],
)
def test_a_decision_touches_only_the_states_it_is_for(ledger: Ledger, decide, states: set[str], target: str):
    for state in State:
        ledger.send(state)
        ledger.write(f"UPDATE mirepoix_task SET state = '{state}' WHERE id = '{state}'")
    changed = ledger.do(decide, [*State, "unknown"], "my reason")
    assert set(changed) == states
    for state in State:
        row = ledger.row(state)
        assert row["state"] == (target if state in states else state)
        assert row["reason"] == ("my reason" if state in states else None)
        if state in states and target == "cancelled":
            assert row["finished_at"] is not None


def test_a_cancelled_task_is_never_taken(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", "due later", eta=_in(60))
    assert ledger.cancel("t", "due later") == ["t", "due later"]
    ledger.passes(61)
    assert ledger.do(take.release_due) == 0
    assert ledger.take_ids("w1") == []


def test_a_requeue_gives_back_every_chance(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", retries=3, expires=_in(60), eta=_in(10), headers={"task": "x", "retries": 3, "note": "100% 🧅"})
    ledger.passes(11)
    ledger.do(take.release_due)
    ledger.fail(ledger.lease("w1"))
    ledger.write("UPDATE mirepoix_task SET deaths = 2, handovers = 9")
    ledger.passes(3_600)
    assert ledger.requeue("t") == ["t"]
    row = ledger.row("t")
    assert (row["retries"], row["deaths"], row["handovers"], row["generation"]) == (0, 0, 0, 1)
    for column in ("due_at", "expires_at", "finished_at"):
        assert row[column] is None, column
    (taken,) = ledger.take("w1")
    assert taken.headers == {"task": "x", "retries": 0, "expires": None, "note": "100% 🧅"}
    assert taken.lease.fence == 2
    assert [a["outcome"] for a in ledger.history("t")] == ["failed", "leased"]


def test_a_revocation_is_meant_for_the_retries_of_a_task_and_not_for_what_is_requeued(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", "waits")
    first = ledger.lease("w1")
    assert ledger.do(operate.revoke, ["t", "waits", "unknown"]) == ["waits"]
    assert ledger.states() == {"t": "leased", "waits": "cancelled"}
    assert ledger.do(finish.is_revoked, first)
    ledger.retry(first)
    second = ledger.lease("w1")
    assert ledger.do(finish.is_revoked, second)
    assert ledger.do(finish.revoke, second, OOPS)
    assert ledger.requeue("t") == ["t"]
    third = ledger.lease("w1")
    assert not ledger.do(finish.is_revoked, third)
    ledger.retry(third)
    fourth = ledger.lease("w1")
    assert not ledger.do(finish.is_revoked, fourth)
    ledger.do(operate.revoke, ["t"])
    assert ledger.do(finish.is_revoked, fourth)
    ledger.succeed(fourth)
    ledger.send("t")
    assert not ledger.do(finish.is_revoked, ledger.lease("w1"))


def test_a_revocation_of_which_the_ledger_was_not_told_is_meant_for_what_was_never_requeued(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    first = ledger.lease("w1")
    assert ledger.do(finish.is_revoked, first)
    ledger.retry(first)
    second = ledger.lease("w1")
    assert ledger.do(finish.is_revoked, second)
    ledger.fail(second)
    ledger.requeue("t")
    assert not ledger.do(finish.is_revoked, ledger.lease("w1"))


def test_a_requeue_can_be_repeated(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", headers={"argsrepr": "\0 🧅"})
    for generation in (1, 2, 3):
        ledger.fail(ledger.lease("w1"))
        ledger.requeue("t")
        assert ledger.row("t")["generation"] == generation
    assert ledger.take("w1")[0].headers == {"argsrepr": "\0 🧅", "retries": 0, "expires": None}


def test_hastening_lets_a_waiting_task_run_now(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("later", eta=_in(60))
    ledger.send("now")
    assert ledger.do(operate.run_now, ["later", "now", "unknown"]) == ["later"]
    assert ledger.take_ids("w1") == ["later", "now"]


def test_a_purge_cancels_what_waits_in_one_queue(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("held", queue="a")
    ledger.take("w1", queues=["a"])
    ledger.send("x", "y", queue="a")
    ledger.send("due", queue="a", eta=_in(60))
    ledger.send("other", queue="b")
    assert set(ledger.do(operate.purge, "a")) == {"x", "y", "due"}
    assert ledger.do(operate.purge, "a") == []
    assert ledger.states() == {
        "held": "leased",
        "x": "cancelled",
        "y": "cancelled",
        "due": "cancelled",
        "other": "pending",
    }
    assert ledger.row("x")["reason"] == "purged"


def test_pruning_deletes_only_what_is_finished_and_old(ledger: Ledger):
    for state in State:
        ledger.send(f"old {state}", f"new {state}")
        ledger.write(f"UPDATE mirepoix_task SET state = '{state}', finished_at = created_at WHERE id LIKE '% {state}'")
    ledger.write("UPDATE mirepoix_task SET finished_at = '2001-01-01 00:00:00' WHERE id LIKE 'old %'")
    assert ledger.do(operate.prune, 3_600.0) == len(PRUNABLE)
    assert set(ledger.states()) == {f"new {s}" for s in State} | {f"old {s}" for s in State if s not in PRUNABLE}


def test_what_needs_attention_is_never_pruned(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("failed", "quarantined", "parked")
    ledger.fail(ledger.lease("w1"))
    ledger.settings = type(ledger.settings)(max_deaths=1)
    ledger.lose(ledger.lease("w1"))
    ledger.do(finish.park, ledger.lease("w1"), OOPS)
    assert ledger.states() == {"failed": "failed", "quarantined": "quarantined", "parked": "parked"}
    ledger.passes(10 * 365 * 86_400)
    assert ledger.do(operate.prune, 0.0) == 0
    assert len(ledger.states()) == 3


def test_pruning_takes_the_attempts_along_and_the_oldest_first(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("a", "b", "c")
    for _ in range(3):
        lease = ledger.lease("w1")
        ledger.do(finish.revoke, lease, AttemptFailure("revoked"))
        ledger.passes(60)
    assert ledger.counts()["mirepoix_attempt"] == 3
    assert ledger.do(operate.prune, 30.0, batch=2) == 2
    assert set(ledger.states()) == {"c"}
    assert ledger.counts()["mirepoix_attempt"] == 1
    assert ledger.do(operate.prune, 30, batch=2) == 1


def test_workers_that_ended_long_ago_are_pruned_unless_they_still_hold_a_task(ledger: Ledger):
    for name in ("alive", "dead", "holding"):
        ledger.worker(name)
    ledger.send("t")
    ledger.lease("holding")
    ledger.die("dead")
    ledger.die("holding")
    ledger.do(operate.prune, 3_600.0)
    assert ledger.counts()["mirepoix_worker"] == 3
    ledger.passes(7_200)
    ledger.do(operate.prune, 3_600.0)
    assert {row["id"] for row in ledger.rows("SELECT * FROM mirepoix_worker")} == {"alive", "holding"}
    assert len(ledger.reap()) == 1
    ledger.do(operate.prune, 3_600.0)
    assert {row["id"] for row in ledger.rows("SELECT * FROM mirepoix_worker")} == {"alive"}


def test_a_task_that_is_requeued_while_it_is_pruned_is_not_deleted(source: Source, ledger: Ledger):
    ledger.send("t")
    ledger.cancel("t")
    ledger.passes(60)
    pruned = []

    def prune() -> None:
        with Ledger(source) as other:
            pruned.append(other.do(operate.prune, 1.0))

    pruner = threading.Thread(target=prune)
    with ledger.connection.transaction() as tx:
        assert operate.requeue(tx, ["t"]) == ["t"]
        pruner.start()
        if source.dialect != "sqlite":
            pruner.join()  # it skips the row that this transaction has locked
    pruner.join()
    assert pruned == [0]
    assert ledger.states() == {"t": "pending"}


def test_a_rolled_back_decision_is_none(ledger: Ledger):
    ledger.send("t")
    with rolled_back(ledger.connection) as tx:
        assert operate.cancel(tx, ["t"]) == ["t"]
    assert ledger.states() == {"t": "pending"}


def test_a_cancel_and_a_take_at_once_have_one_winner(source: Source, ledger: Ledger):
    if source.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: one of them begins after the other's commit")
    ledger.worker("w1")
    ledger.send("t")
    cancelled = []

    def cancel() -> None:
        with Ledger(source) as other:
            cancelled.extend(other.cancel("t"))

    canceller = threading.Thread(target=cancel)
    with Ledger(source) as watcher, ledger.connection.transaction() as tx:
        assert len(take.take(tx, "w1", ["celery"], 1)) == 1
        canceller.start()
        until_somebody_waits_for_a_lock(watcher)
    canceller.join()
    assert cancelled == []
    assert ledger.states() == {"t": "leased"}


def test_odd_reasons_and_ids_are_bound_not_spliced(ledger: Ledger):
    odd = "'; DROP TABLE mirepoix_task; -- %s %(x)s :name {now} 🧅"
    ledger.do(lambda tx: None)
    ledger.send(odd)
    assert ledger.do(operate.cancel, [odd], odd) == [odd]
    assert ledger.row(odd)["reason"] == odd
    assert ledger.do(operate.requeue, [odd], odd) == [odd]
    assert ledger.do(operate.purge, odd) == []
    assert envelope(odd).id == odd


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
