"""Results: what is kept under an id, what replaces what, and who may write."""

from __future__ import annotations

import select
import time

import pytest
from test_fencing import WAYS_TO_LOSE

from driver import Ledger, rolled_back
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.ledger import operate, results
from mirepoix.ledger.results import Known
from mirepoix.records import Lease, Result, SavedGroup
from mirepoix.sql import statement
from pace import DEADLINE_S


def success(task_id: str = "t", value: str | None = "1", **fields) -> Result:
    return Result(task_id, "SUCCESS", value, **fields)


def found(ledger: Ledger, task_id: str = "t") -> Known:
    (known,) = ledger.do(results.find, [task_id])
    return known


def store(ledger: Ledger, *what: Result, **how) -> None:
    ledger.do(results.store, what, **how)


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    """Task ``t``, leased by worker ``w1``."""
    ledger.worker("w1")
    ledger.send("t")
    return ledger.lease("w1")


def test_what_was_stored_is_found_with_everything_in_it(ledger: Ledger):
    stored = Result("t", "FAILURE", '{"exc_type": "E"}', "Traceback ...", '{"children": []}', "application/x-yaml")
    store(ledger, stored)
    assert found(ledger) == Known(
        *("t", "FAILURE", '{"exc_type": "E"}', "application/x-yaml", "Traceback ...", '{"children": []}', None, None)
    )


def test_an_id_without_a_result_is_found_with_what_is_known_of_its_task(ledger: Ledger):
    ledger.send("waits", "cancelled")
    ledger.do(operate.cancel, ["cancelled"], "because")
    known = {one.task_id: one for one in ledger.do(results.find, ["waits", "cancelled", "unknown"])}
    assert {id: one.status for id, one in known.items()} == {"waits": None, "cancelled": None, "unknown": None}
    assert (known["waits"].task_state, known["waits"].task_reason) == ("pending", None)
    assert (known["cancelled"].task_state, known["cancelled"].task_reason) == ("cancelled", "because")
    assert known["unknown"].task_state is None


def test_no_result_is_looked_for_by_reading_a_table_whole(ledger: Ledger):
    store(ledger, *(success(f"r{number}") for number in range(3_000)))
    ledger.send(*(f"t{number}" for number in range(300)))
    with ledger.connection.transaction() as tx:
        explain = {"sqlite": "EXPLAIN QUERY PLAN ", "mysql": "EXPLAIN /*!80000 FORMAT=TRADITIONAL */ "}.get(
            tx.dialect, "EXPLAIN "
        )
        rows = tx.query(explain + statement("results", tx.dialect, "named"), ids='["r1"]')
    plan = [f"{'ALL' if 'ALL' in row[3:5] else ''} {row[2]}" if tx.dialect == "mysql" else row[-1] for row in rows]
    assert not [step for step in plan if "Seq Scan" in step or step in ("SCAN r", "SCAN t", "ALL r", "ALL t")], plan


def test_nothing_asked_and_nothing_stored_is_nothing(ledger: Ledger):
    store(ledger)
    assert ledger.do(results.find, []) == []


def test_many_are_stored_and_found_together(ledger: Ledger):
    ids = [f"t{n}" for n in range(2_000)]
    store(ledger, *(success(id, id) for id in ids))
    assert {one.task_id: one.result for one in ledger.do(results.find, ids)} == {id: id for id in ids}


def test_of_two_results_under_one_id_the_later_counts(ledger: Ledger):
    store(ledger, Result("t", "STARTED", "1"), success(value="2"))
    assert (found(ledger).status, found(ledger).result) == ("SUCCESS", "2")


@pytest.mark.parametrize("before", ["STARTED", "PROGRESS", "RETRY", "FAILURE", "REVOKED"])
def test_whatever_comes_later_replaces_what_is_no_success(ledger: Ledger, before: str):
    store(ledger, Result("t", before, "1", "Traceback", '{"a": 1}'))
    store(ledger, Result("t", "RETRY", "2"))
    known = found(ledger)
    assert (known.status, known.result, known.traceback, known.meta) == ("RETRY", "2", None, "{}")


@pytest.mark.parametrize("late", ["STARTED", "PROGRESS", "RETRY", "FAILURE", "REVOKED", "SUCCESS"])
def test_a_success_is_replaced_by_an_outcome_and_by_nothing_else(ledger: Ledger, late: str):
    store(ledger, success(value="first"))
    store(ledger, Result("t", late, "late"))
    assert (found(ledger).status, found(ledger).result) == ("SUCCESS", "first")
    store(ledger, Result("t", late, "outcome"), is_outcome=True)
    assert (found(ledger).status, found(ledger).result) == (late, "outcome")


def test_an_attempt_reports_while_it_holds_its_lease(ledger: Ledger, lease: Lease):
    store(ledger, Result("t", "PROGRESS", "1"), only_while=lease)
    ledger.start(lease)
    store(ledger, Result("t", "PROGRESS", "2"), only_while=lease)
    assert found(ledger).result == "2"


@pytest.mark.parametrize("lost", WAYS_TO_LOSE)
def test_a_lost_attempt_reports_nothing(ledger: Ledger, lease: Lease, lost):
    store(ledger, Result("t", "PROGRESS", "mine"), only_while=lease)
    WAYS_TO_LOSE[lost](ledger, lease)
    store(ledger, Result("t", "PROGRESS", "a zombie's"), Result("other", "FAILURE", "too"), only_while=lease)
    assert found(ledger).result in ("mine", None)  # a requeue drops what was kept
    assert found(ledger, "other").status is None


def test_a_report_of_another_task_is_guarded_by_the_reporters_lease(ledger: Ledger, lease: Lease):
    store(ledger, Result("other", "PROGRESS", "1"), only_while=lease)
    assert found(ledger, "other").result == "1"


@pytest.mark.parametrize(
    "odd", ["a\0b", "\udc80 surrogateescape", "\ud83d", "it's 100% :bad {now} \\x", "🧅" * 1_000, ""]
)
def test_any_text_can_be_kept(ledger: Ledger, odd: str):
    store(ledger, Result("t", "FAILURE", odd, odd, odd))
    known = found(ledger)
    assert known.result == known.traceback == known.meta
    if "\0" not in odd and odd != "\ud83d" and not odd.startswith("\udc80"):
        assert known.result == odd
    else:
        assert known.result.isprintable()


def test_a_result_may_be_many_megabytes(ledger: Ledger):
    huge = "[" + ", ".join(["1234567"] * 1_000_000) + "]"
    store(ledger, success(value=huge))
    assert found(ledger).result == huge


def test_a_result_may_be_missing(ledger: Ledger):
    store(ledger, success(value=None))
    assert (found(ledger).status, found(ledger).result) == ("SUCCESS", None)


def test_what_is_forgotten_is_gone_and_the_task_is_not(ledger: Ledger, lease: Lease):
    store(ledger, success(), success("other"))
    ledger.do(results.forget, "t")
    ledger.do(results.forget, "unknown")
    assert (found(ledger).status, found(ledger).task_state) == (None, "leased")
    assert found(ledger, "other").status == "SUCCESS"


def test_a_task_that_is_requeued_waits_again_to_those_who_ask(ledger: Ledger, lease: Lease):
    ledger.fail(lease)
    store(ledger, Result("t", "FAILURE", '{"exc_type": "ValueError"}'))
    ledger.requeue("t")
    assert (found(ledger).status, found(ledger).task_state) == (None, "pending")


def test_a_rolled_back_result_was_never_stored(ledger: Ledger):
    with rolled_back(ledger.connection) as tx:
        results.store(tx, [success()])
        results.save_group(tx, SavedGroup("g", "[]"))
    assert found(ledger).status is None
    assert ledger.do(results.saved_group, "g") is None


def test_pruning_deletes_what_has_expired(ledger: Ledger):
    store(ledger, success("kept"), success("later", expires_s=3_600.0), success("over", expires_s=60.0))
    assert ledger.do(results.prune) == 0
    _expire(ledger, "mirepoix_result", "task_id", "over")
    assert ledger.do(results.prune) == 1
    assert {one.task_id: one.status for one in ledger.do(results.find, ["kept", "later", "over"])} == {
        "kept": "SUCCESS",
        "later": "SUCCESS",
        "over": None,
    }


def test_a_result_that_is_stored_again_lives_as_long_as_the_later_says(ledger: Ledger):
    store(ledger, Result("t", "STARTED", None, expires_s=60.0))
    store(ledger, success())
    ((expires_at,),) = ledger.query("SELECT expires_at FROM mirepoix_result")
    assert expires_at is None


def test_pruning_takes_no_more_than_a_batch(ledger: Ledger):
    store(ledger, *(success(f"t{n}", expires_s=60.0) for n in range(5)))
    ledger.write("UPDATE mirepoix_result SET expires_at = '2001-01-01 00:00:00'")
    assert [ledger.do(results.prune, 2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_saved_group_is_restored_replaced_forgotten_and_expires(ledger: Ledger):
    ledger.do(results.save_group, SavedGroup("g", '[["g", null], [[["a", null], null]]]', 3_600.0))
    assert ledger.do(results.saved_group, "g") == '[["g", null], [[["a", null], null]]]'
    ledger.do(results.save_group, SavedGroup("g", "[]"))
    assert ledger.do(results.saved_group, "g") == "[]"
    ledger.do(results.forget_group, "g")
    assert ledger.do(results.saved_group, "g") is None
    ledger.do(results.save_group, SavedGroup("g", "[]", 60.0))
    ledger.do(results.save_group, SavedGroup("kept", "[]"))
    _expire(ledger, "mirepoix_group", "group_id", "g")
    ledger.do(results.prune)
    assert (ledger.do(results.saved_group, "g"), ledger.do(results.saved_group, "kept")) == (None, "[]")


def test_whoever_listens_is_told_of_a_finished_task_when_it_is_committed(source: Source, ledger: Ledger):
    listener = source.open()
    try:
        listener.listen_results()
        _told(listener, 0)
        with rolled_back(ledger.connection) as tx:
            results.store(tx, [success("never")])
        store(ledger, Result("going on", "PROGRESS", "1"), success("t"), success("with,comma" * 21))
        if source.dialect != "postgresql":
            assert _told(listener, 1) == {"*"}
            return
        assert _told(listener, 2) == {"t", "*"}
        ids = {f"t{n}" + "x" * 190 for n in range(100)}
        store(ledger, *(success(id) for id in ids))
        assert _told(listener, 100) == ids
    finally:
        listener.close()


def _told(listener: OwnConnection, count: int) -> set[str]:
    """What is told until there are so many."""
    told = set(listener.finished())
    deadline = time.monotonic() + DEADLINE_S
    while len(told) < count and time.monotonic() < deadline:
        select.select([fd for fd in [listener.wakeup_fd()] if fd is not None], [], [], 0.05)
        told |= listener.finished()
    return told


def _expire(ledger: Ledger, table: str, key: str, id: str) -> None:
    ledger.write(f"UPDATE {table} SET expires_at = '2001-01-01 00:00:00' WHERE {key} = '{id}'")
