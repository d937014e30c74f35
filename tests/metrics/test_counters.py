"""Counters equal the rows and the totals, are cheap to read again, and never fall."""

from __future__ import annotations

import pytest

from driver import Ledger
from mirepoix.ledger import operate, totals
from mirepoix.ledger.totals import Kind, Tally
from mirepoix.metrics.counters import Counters


def truth(ledger: Ledger) -> Tally:
    """The totals and all rows, counted anew."""
    settled, recent = ledger.do(totals.kept, ledger.do(totals.moment_ago, 0.0))
    return ledger.do(totals.folded) + settled + recent


def work(ledger: Ledger, *ids: str) -> None:
    """Every second task succeeds. The others fail."""
    ledger.send(*ids)
    for number, taken in enumerate(ledger.take("w1", len(ids))):
        (ledger.fail if number % 2 else ledger.succeed)(taken.lease)


def attempts(tally: Tally) -> int:
    return sum(number for key, number in tally.attempts.items() if key.kind is Kind.RUN)


@pytest.mark.parametrize("lag_s", [0.0, 100.0])
def test_the_counters_equal_the_rows_at_each_reading(ledger: Ledger, lag_s: float):
    ledger.worker("w1", ttl_s=1e6)
    counters = Counters(lag_s)
    for round_ in range(4):
        work(ledger, *(f"{round_}-{number}" for number in range(5)))
        assert ledger.do(counters.read) == truth(ledger)
        ledger.do(operate.discard, [f"{round_}-1"])
        ledger.do(operate.requeue, [f"{round_}-3"])
        ledger.send(f"{round_}-0")  # a success gets a row of its own, and the id runs again
        for taken in ledger.take("w1", 9):
            ledger.succeed(taken.lease)
        assert ledger.do(counters.read) == truth(ledger)


@pytest.mark.parametrize("lag_s", [0.0, 1_000.0], ids=["what is counted", "what is not counted yet"])
def test_pruning_does_not_change_the_counters(ledger: Ledger, lag_s: float):
    ledger.worker("w1", ttl_s=1e6)
    counters = Counters(lag_s)
    work(ledger, "a", "b", "c", "d")
    before = ledger.do(counters.read)
    ledger.do(operate.discard, ["b", "d"])
    ledger.passes(1)
    assert ledger.do(operate.prune, 0.0) == 4
    assert ledger.rows("SELECT id FROM mirepoix_task") == []
    assert ledger.do(counters.read) == before == truth(ledger)
    assert ledger.do(Counters().read) == before
    work(ledger, "e")
    assert attempts(ledger.do(counters.read)) == attempts(before) + 1


def test_a_prune_that_counts_nothing_lets_no_counter_fall(ledger: Ledger):
    ledger.worker("w1")
    counters = Counters(0.0)
    work(ledger, "a", "b", "c")
    before = ledger.do(counters.read)
    ledger.write("DELETE FROM mirepoix_task WHERE id = 'a'")  # as a worker of an earlier release prunes
    counters._recount_at = 0.0
    assert ledger.do(counters.read) == before


def test_an_outcome_that_was_recorded_long_before_its_commit_is_counted_at_the_next_full_count(ledger: Ledger):
    ledger.worker("w1", ttl_s=1e6)
    counters = Counters(10.0)
    work(ledger, "a")
    ledger.do(counters.read)
    work(ledger, "late")
    moved = {
        "sqlite": "strftime('%Y-%m-%d %H:%M:%f', finished_at, '-99 seconds')",
        "mysql": "finished_at - INTERVAL 99 SECOND",
        "postgresql": "finished_at - interval '99 seconds'",
    }[ledger.source.dialect]
    ledger.write(f"UPDATE mirepoix_task SET finished_at = {moved} WHERE id = 'late'")
    assert attempts(ledger.do(counters.read)) == 1
    counters._recount_at = 0.0
    assert ledger.do(counters.read) == truth(ledger)


def test_reading_again_does_not_read_what_ended_long_ago(ledger: Ledger):
    ledger.worker("w1", ttl_s=1e9)
    work(ledger, *(f"old-{number}" for number in range(6)))
    ledger.passes(10_000)
    counters = Counters(100.0)
    before = ledger.do(counters.read)
    # Nobody may change these rows. If they were read again, the numbers would change.
    ledger.write("UPDATE mirepoix_task SET name = 'other' WHERE id LIKE 'old-%'")
    assert ledger.do(counters.read) == before
