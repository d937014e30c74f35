"""Outcomes: what each leaves on the task, in the history of attempts and in the two views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from driver import OOPS, Ledger, envelope, moment, rolled_back
from mirepoix.ledger import enqueue, finish, reap, take
from mirepoix.records import AttemptFailure, Completion, Lease


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    """Task ``t``, running in worker ``w1``."""
    ledger.worker("w1")
    ledger.send("t")
    lease = ledger.lease("w1")
    ledger.start(lease)
    return lease


def test_a_success_is_kept_on_the_task(ledger: Ledger, lease: Lease):
    completion = Completion(lease, run_time_s=1.5, peak_memory_kb=2_048, reason="ignored", pid=99)
    assert ledger.do(finish.succeed, "w1", [completion]) == {"t"}
    row = ledger.row("t")
    assert (row["state"], row["run_time_s"], row["peak_memory_kb"], row["reason"], row["pid"]) == (
        *("succeeded", 1.5, 2_048, "ignored", 99),
    )
    assert row["finished_at"] is not None
    assert ledger.attempts("t") == []
    (attempt,) = ledger.history("t")
    assert (attempt["outcome"], attempt["fence"], attempt["worker_id"]) == ("succeeded", 1, "w1")


@pytest.mark.parametrize("run_time_s", [None, 0, 0.0, 0.000_004, 0.25, 90_000.5])
def test_a_success_that_was_not_seen_to_start_began_when_its_run_time_says(ledger: Ledger, run_time_s: float | None):
    ledger.worker("w1")
    ledger.send("t")
    ledger.do(finish.succeed, "w1", [Completion(ledger.lease("w1"), run_time_s=run_time_s)])
    row = ledger.row("t")
    took = moment(row["finished_at"]) - moment(row["started_at"])
    assert took == pytest.approx(timedelta(seconds=run_time_s or 0), abs=timedelta(milliseconds=2))


def test_nothing_to_report_is_nothing(ledger: Ledger):
    assert ledger.do(finish.succeed, "w1", []) == set()
    assert ledger.do(finish.give_back, "w1", [], "no") == 0


def test_continuations_commit_with_the_success_or_not_at_all(ledger: Ledger, lease: Lease):
    with rolled_back(ledger.connection) as tx:
        assert finish.succeed_with(tx, Completion(lease), [envelope("next")])
    assert ledger.states() == {"t": "running"}
    assert ledger.do(finish.succeed_with, Completion(lease), [envelope("next"), envelope("after")])
    assert ledger.states() == {"t": "succeeded", "next": "pending", "after": "pending"}


def test_a_failure_is_kept_with_its_traceback(ledger: Ledger, lease: Lease):
    trouble = AttemptFailure(
        *("no money", "ValueError", "Traceback ..."), signal=9, exit_code=-9, pid=5, run_time_s=2.0, peak_memory_kb=77
    )
    assert ledger.do(finish.fail, lease, trouble, [envelope("errback")])
    assert ledger.states() == {"t": "failed", "errback": "pending"}
    row = ledger.row("t")
    assert (row["reason"], row["run_time_s"], row["peak_memory_kb"], row["pid"]) == ("no money", 2.0, 77, 5)
    (attempt,) = ledger.attempts("t")
    expected = {
        "fence": 1,
        "generation": 0,
        "outcome": "failed",
        "worker_id": "w1",
        "pid": 5,
        "run_time_s": 2.0,
        "peak_memory_kb": 77,
        "error_type": "ValueError",
        "error": "no money",
        "traceback": "Traceback ...",
        "signal": 9,
        "exit_code": -9,
    }
    assert {name: attempt[name] for name in expected} == expected
    assert moment(attempt["leased_at"]) == moment(row["leased_at"])
    assert moment(attempt["started_at"]) == moment(row["started_at"])
    assert abs(moment(attempt["finished_at"]) - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("odd", ["a\0b", "\udc80 from surrogateescape", "\ud83d", "it's 100% :bad {now}", "🧅" * 1_000])
def test_an_error_with_any_text_can_be_recorded(ledger: Ledger, odd: str):
    # A file name or a driver's message may hold what no database stores as text: the failure must not be lost for it.
    ledger.worker("w1")
    trouble = AttemptFailure(odd, error_type=odd, traceback=odd)
    reports = (
        lambda lease: ledger.do(finish.fail, lease, trouble),
        lambda lease: ledger.do(finish.retry, lease, envelope(lease.task_id), trouble),
        lambda lease: ledger.do(finish.park, lease, trouble),
        lambda lease: ledger.do(finish.revoke, lease, trouble),
        lambda lease: ledger.do(finish.expire, lease, trouble),
        lambda lease: ledger.do(finish.succeed, "w1", [Completion(lease, reason=odd)]),
        lambda lease: ledger.do(reap.lose, lease, trouble, ledger.settings, is_blamed=True, outcome="lost"),
    )
    for number, report in enumerate(reports):
        ledger.write("DELETE FROM mirepoix_task")
        ledger.send("t")
        lease = ledger.lease("w1")
        ledger.start(lease)
        assert report(lease), number
        kept = ledger.row("t")["reason"]
        if "\0" not in odd and odd.isprintable():
            assert kept == odd
        for attempt in ledger.attempts("t"):
            assert attempt["error"] == attempt["traceback"] == kept


def test_a_retry_replaces_the_message_and_waits(ledger: Ledger, lease: Lease):
    due = datetime.now(UTC) + timedelta(seconds=60)
    again = envelope(
        "t", body="[[2], {}, {}]", queue="slow", priority=2, retries=1, eta=due.isoformat(), headers={"x": 1}
    )
    assert ledger.do(finish.retry, lease, again, OOPS, [envelope("next")])
    row = ledger.row("t")
    assert (row["state"], row["body"], row["queue"], row["priority"], row["retries"], row["generation"]) == (
        *("pending", "[[2], {}, {}]", "slow", 2, 1, 1),
    )
    assert abs(moment(row["due_at"]) - due) < timedelta(milliseconds=1)
    assert ledger.state("next") == "pending"
    (attempt,) = ledger.attempts("t")
    # The attempt ran from the message before.
    assert (attempt["outcome"], attempt["generation"], attempt["error"]) == ("retried", 0, OOPS.reason)
    assert ledger.take_ids("w1", queues=["slow"]) == []
    ledger.passes(61)
    ledger.do(take.release_due)
    assert ledger.take_ids("w1", queues=["slow"]) == ["t"]


def test_a_retry_without_an_eta_is_ready_at_once(ledger: Ledger, lease: Lease):
    assert ledger.retry(lease)
    assert ledger.take_ids("w1") == ["t"]


def test_a_retry_keeps_the_deaths_that_were_counted(ledger: Ledger, lease: Lease):
    ledger.lose(lease)
    ledger.retry(ledger.lease("w1"))
    assert ledger.row("t")["deaths"] == 1


@pytest.mark.parametrize(
    ("verb", "state"), [(finish.park, "parked"), (finish.revoke, "cancelled"), (finish.expire, "expired")]
)
def test_what_ends_without_running_keeps_its_reason(ledger: Ledger, lease: Lease, verb, state: str):
    assert ledger.do(verb, lease, AttemptFailure("because"))
    assert (ledger.state("t"), ledger.row("t")["reason"]) == (state, "because")
    assert ledger.row("t")["finished_at"] is not None
    (attempt,) = ledger.attempts("t")
    assert (attempt["outcome"], attempt["error"]) == (state, "because")


def test_giving_back_blames_nobody(ledger: Ledger, lease: Lease):
    ledger.send("unstarted")
    ledger.lease("w1")
    assert ledger.give_back("w1") == 2
    for task_id in ("t", "unstarted"):
        row = ledger.row(task_id)
        assert (row["state"], row["deaths"], row["handovers"], row["worker_id"]) == ("pending", 0, 0, None)
    (attempt,) = ledger.attempts("t")
    assert (attempt["outcome"], attempt["error"], attempt["worker_id"]) == ("returned", "worker stops", "w1")
    assert ledger.attempts("unstarted") == []


def test_only_the_named_leases_of_this_worker_are_given_back(ledger: Ledger, lease: Lease):
    ledger.worker("w2")
    ledger.send("a", "b")
    a, b = ledger.lease("w1"), ledger.lease("w2")
    assert ledger.give_back("w1", [a, b]) == 1
    assert ledger.states() == {"t": "running", "a": "pending", "b": "leased"}
    assert ledger.give_back("w1") == 1
    assert ledger.state("b") == "leased"


def test_the_history_view_tells_the_whole_life_of_a_task(ledger: Ledger, lease: Lease):
    ledger.lose(lease)
    ledger.retry(ledger.lease("w1"))
    ledger.fail(ledger.lease("w1"))
    ledger.requeue("t")
    ledger.give_back("w1", [_started(ledger, ledger.lease("w1"))])
    running = _started(ledger, ledger.lease("w1"))
    outcomes = ["lost", "retried", "failed", "returned"]
    assert [a["outcome"] for a in ledger.history("t")] == [*outcomes, "running"]
    ledger.succeed(running)
    history = ledger.history("t")
    assert [a["outcome"] for a in history] == [*outcomes, "succeeded"]
    assert [a["fence"] for a in history] == [1, 2, 3, 4, 5]
    assert [a["generation"] for a in history] == [0, 0, 1, 2, 2]


def test_an_earlier_success_stays_in_the_history_when_its_id_is_sent_again(ledger: Ledger, lease: Lease):
    ledger.succeed(lease)
    ledger.send("t")
    (attempt,) = ledger.history("t")
    assert (attempt["outcome"], attempt["fence"], attempt["generation"], attempt["run_time_s"]) == (
        "succeeded",
        1,
        0,
        0.25,
    )
    ledger.succeed(ledger.lease("w1"))
    assert [a["outcome"] for a in ledger.history("t")] == ["succeeded", "succeeded"]


def test_the_readable_view_shows_the_arguments_in_clear(ledger: Ledger, lease: Lease):
    ((row_id, attempts, args, kwargs),) = ledger.query("SELECT id, attempts, args, kwargs FROM mirepoix_task_readable")
    assert (row_id, attempts) == ("t", 1)
    assert args in ([1], "[1]")
    assert kwargs in ({"a": 2}, '{"a":2}', '{"a": 2}')


def test_a_lost_or_returned_attempt_is_not_settled_but_a_retried_one_is(ledger: Ledger, lease: Lease):
    ledger.lose(lease)
    assert not ledger.do(finish.is_settled, lease)
    unstarted = ledger.lease("w1")
    ledger.give_back("w1")
    assert not ledger.do(finish.is_settled, unstarted)
    started = _started(ledger, ledger.lease("w1"))
    ledger.give_back("w1")
    assert not ledger.do(finish.is_settled, started)
    retried = ledger.lease("w1")
    ledger.retry(retried)
    assert ledger.do(finish.is_settled, retried)
    ledger.lease("w1")
    assert ledger.do(finish.is_settled, retried)


def test_a_rolled_back_outcome_leaves_no_history(ledger: Ledger, lease: Lease):
    with rolled_back(ledger.connection) as tx:
        assert finish.fail(tx, lease, OOPS, [envelope("errback")])
        enqueue.add(tx, [envelope("other")])
    assert ledger.states() == {"t": "running"}
    assert ledger.attempts("t") == []


def _started(ledger: Ledger, lease: Lease) -> Lease:
    assert ledger.start(lease) == {lease.task_id}
    return lease
