"""Every attempt that ended is counted once: from its row, or from the totals after its task was pruned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driver import OOPS, Ledger, envelope, rolled_back
from mirepoix.ledger import finish, operate, take, totals
from mirepoix.ledger.totals import Kind, Tally
from mirepoix.records import AttemptFailure
from mirepoix.sql.buckets import BOUNDS_S, UNKNOWN


def by_outcome(tally: Tally) -> dict[tuple[str, str], int]:
    """The attempts by task and outcome."""
    found: dict[tuple[str, str], int] = {}
    for key, attempts in tally.attempts.items():
        if key.kind is Kind.RUN:
            found[key.name, key.outcome] = found.get((key.name, key.outcome), 0) + attempts
    return found


def kept(ledger: Ledger) -> Tally:
    """The attempts that have a row."""
    settled, recent = ledger.do(totals.kept, ledger.do(totals.moment_ago, 60.0))
    return settled + recent


def everything(ledger: Ledger) -> Tally:
    """The totals and the rows together."""
    return ledger.do(totals.folded) + kept(ledger)


def a_day(ledger: Ledger) -> None:
    """Successes, failures, retries, deaths, and a task that is sent again under its id."""
    ledger.worker("w1")
    ledger.send("good", "again", "bad", "flaky", "deadly")
    leases = {taken.lease.task_id: taken.lease for taken in ledger.take("w1", 9)}
    ledger.succeed(leases["good"])
    ledger.succeed(leases["again"])
    ledger.fail(leases["bad"])
    ledger.retry(leases["flaky"])
    ledger.lose(leases["deadly"])
    ledger.send("again")
    for taken in ledger.take("w1", 9):
        ledger.succeed(taken.lease)
    ledger.passes(1)


EXPECTED = {
    ("shop.pay", "succeeded"): 5,
    ("shop.pay", "failed"): 1,
    ("shop.pay", "retried"): 1,
    ("shop.pay", "lost"): 1,
}


def test_every_attempt_that_ended_is_counted_once(ledger: Ledger):
    a_day(ledger)
    assert by_outcome(kept(ledger)) == EXPECTED
    assert ledger.do(totals.folded) == Tally()


def test_pruning_moves_attempts_from_the_rows_to_the_totals(ledger: Ledger):
    a_day(ledger)
    before = everything(ledger)
    assert ledger.do(operate.prune, 0.0, 2) == 2
    assert everything(ledger) == before
    ledger.do(operate.discard, ["bad"])
    ledger.passes(1)
    assert ledger.do(operate.prune, 0.0, 5_000) == 3
    assert ledger.rows("SELECT id FROM mirepoix_task") == []
    assert kept(ledger) == Tally()
    assert ledger.do(totals.folded) == before
    assert by_outcome(before) == EXPECTED


def test_a_prune_that_does_not_commit_counts_nothing(ledger: Ledger):
    a_day(ledger)
    before = everything(ledger)
    with rolled_back(ledger.connection) as tx:
        assert operate.prune(tx, 0.0) == 4
    assert ledger.do(totals.folded) == Tally()
    assert everything(ledger) == before


@pytest.mark.parametrize("age_s", [0.0, 3_600.0])
def test_the_attempts_since_a_moment_are_those_that_the_whole_count_has(ledger: Ledger, age_s: float):
    a_day(ledger)
    ledger.passes(7_200)
    old = kept(ledger)
    ledger.send("new", "fails", "waits")
    new = ledger.lease("w1")
    ledger.succeed(new)
    fails = ledger.lease("w1")
    ledger.fail(fails)
    assert ledger.requeue("fails") == ["fails"]  # it waits, and its attempt has a row
    moment = ledger.do(totals.moment_ago, 3_600.0)
    settled, recent = ledger.do(totals.since, moment, ledger.do(totals.moment_ago, age_s))
    assert old + settled + recent == kept(ledger)
    assert by_outcome(settled + recent) == {("shop.pay", "succeeded"): 1, ("shop.pay", "failed"): 1}
    assert (settled == Tally()) is (age_s > 0)


def test_it_is_known_when_recent_attempts_were_pruned(ledger: Ledger):
    a_day(ledger)
    moment = ledger.do(totals.moment_ago, 3_600.0)
    assert not ledger.do(totals.was_pruned_since, moment)
    ledger.do(operate.prune, 0.0)
    assert ledger.do(totals.was_pruned_since, moment)
    ledger.passes(7_200)
    assert not ledger.do(totals.was_pruned_since, moment)


def test_an_attempt_that_replaced_itself_counts_for_the_task_that_ran(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", name="shop.first")
    failure = AttemptFailure("replaced", name="shop.first")
    assert ledger.do(finish.retry, ledger.lease("w1"), envelope("t", name="shop.second"), failure)
    ledger.fail(ledger.lease("w1"))
    assert by_outcome(everything(ledger)) == {("shop.first", "retried"): 1, ("shop.second", "failed"): 1}


def waits(ledger: Ledger) -> dict[int, int]:
    """The attempts by the bucket of their waiting time."""
    return {key.bucket: n for key, n in everything(ledger).attempts.items() if key.kind is Kind.WAIT}


def bucket(seconds: float) -> int:
    return sum(bound < seconds for bound in BOUNDS_S)


@pytest.mark.parametrize("has_eta", [False, True], ids=["sent", "with an eta"])
def test_a_task_waits_from_when_it_is_ready_until_it_is_taken(ledger: Ledger, has_eta: bool):
    ledger.worker("w1")
    eta = (datetime.now(UTC) + timedelta(seconds=1_000)).isoformat() if has_eta else None
    ledger.send("t", eta=eta)
    ledger.passes(1_100)
    ledger.do(take.release_due)
    ledger.succeed(ledger.lease("w1"))
    assert waits(ledger) == {bucket(100.5 if has_eta else 1_100.5): 1}
    assert ledger.row("t")["waited_s"] == pytest.approx(100 if has_eta else 1_100, abs=60)


def test_after_an_attempt_a_task_waits_from_its_end(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    ledger.passes(50)
    ledger.lose(ledger.lease("w1"))
    ledger.passes(8)
    ledger.succeed(ledger.lease("w1"))
    assert waits(ledger) == {bucket(50.5): 1, bucket(8.5): 1}


def test_times_are_summed_in_microseconds(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    ledger.fail(ledger.lease("w1"), AttemptFailure("x", "ValueError", run_time_s=1.234567))
    ledger.send("u")
    ledger.fail(ledger.lease("w1"), AttemptFailure("x", "ValueError"))
    found: dict[Any, tuple[int, int]] = {
        key.bucket: (n, tally.microseconds[key])
        for tally in [everything(ledger)]
        for key, n in tally.attempts.items()
        if key.kind is Kind.RUN
    }
    assert found == {bucket(1.234567): (1, 1_234_567), UNKNOWN: (1, 0)}


def test_names_that_no_index_can_hold_are_counted(ledger: Ledger):
    ledger.worker("w1")
    name = "ä" * 5_000 + "'\"\\%s"
    ledger.send("t", name=name)
    ledger.fail(ledger.lease("w1"), OOPS)
    ledger.do(operate.discard, ["t"])
    ledger.passes(1)
    ledger.do(operate.prune, 0.0)
    assert by_outcome(ledger.do(totals.folded)) == {(name, "failed"): 1}
