"""Failures are counted by their causes, with the outcome that they are, and replays are taken back."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from driver import OOPS, Ledger, envelope, rolled_back
from mirepoix.connect.source import Source
from mirepoix.ledger import counting, failures, finish, reap, replay, results
from mirepoix.ledger.failures import Ignoring
from mirepoix.ledger.query import failures as query
from mirepoix.ledger.query.failures import Group, GroupStatus
from mirepoix.records import AttemptFailure, Lease, Result
from mirepoix.sql.columns import row_class

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/orders.py", line 12, in {function}
    price(order)
ValueError: order 12 has no price
"""


def trouble(function: str = "price", release: str | None = None, **fields: Any) -> AttemptFailure:
    """A failure in that function."""
    return AttemptFailure(
        **{
            "reason": "ValueError: order 12 has no price",
            "error_type": "builtins.ValueError",
            "traceback": TRACEBACK.format(function=function),
            "release": release,
            **fields,
        }
    )


def failed(ledger: Ledger, *task_ids: str, why: AttemptFailure | None = None) -> None:
    """Send tasks and let each fail."""
    for task_id in task_ids:
        ledger.send(task_id, priority=9)
        assert ledger.fail(ledger.lease("w1"), why or trouble())


def group(ledger: Ledger) -> Group:
    """The only group there is."""
    (found,) = groups(ledger)
    return found


def groups(ledger: Ledger) -> list[Group]:
    """All groups, everything counted."""
    ledger.count_failures()
    return ledger.do(query.groups)


@pytest.fixture(autouse=True)
def _worker(ledger: Ledger) -> None:
    ledger.worker("w1")


def test_failures_with_one_cause_are_one_group(ledger: Ledger):
    failed(ledger, "a", "b")
    failed(ledger, "c", why=trouble(reason="ValueError: order 7 has no price"))
    found = group(ledger)
    assert (found.failures, found.kept, found.waiting, found.last_hour) == (3, 3, 0, 3)
    assert (found.status, found.last_task_id, found.name) == (GroupStatus.OPEN, "c", "shop.pay")
    assert found.title == "ValueError: order <n> has no price in shop.orders.price"
    assert {ledger.row(id)["failure_group"] for id in "abc"} == {found.id}
    assert [one["failure_group"] for one in ledger.attempts("a")] == [found.id]


def test_other_causes_are_other_groups_and_the_one_with_most_tasks_comes_first(ledger: Ledger):
    failed(ledger, "a", why=trouble("ship"))
    failed(ledger, "b", "c", why=trouble("price"))
    assert [found.kept for found in groups(ledger)] == [2, 1]


def test_a_retry_because_of_an_exception_counts_and_its_task_waits(ledger: Ledger):
    ledger.send("a")
    lease = ledger.lease("w1")
    assert ledger.do(finish.retry, lease, envelope("a", retries=1), trouble())
    found = group(ledger)
    assert (found.failures, found.kept, found.waiting) == (1, 0, 1)
    failed_again = ledger.lease("w1")
    assert ledger.fail(failed_again, trouble())
    found = group(ledger)
    assert (found.failures, found.kept, found.waiting) == (2, 1, 0)


def test_what_is_no_failure_counts_nothing(ledger: Ledger):
    for task_id in ("replaced", "polling", "parked", "back", "lost", "fine"):
        ledger.send(task_id, priority=9)
        lease = ledger.lease("w1")
        if task_id == "replaced":
            ledger.do(finish.retry, lease, envelope(task_id), AttemptFailure("replaced"))
            ledger.cancel(task_id)
        elif task_id == "polling":
            ledger.do(finish.retry, lease, envelope(task_id), AttemptFailure("Retry in 3s", "celery.exceptions.Retry"))
            ledger.cancel(task_id)
        elif task_id == "parked":
            ledger.do(finish.park, lease, AttemptFailure("no such task"))
        elif task_id == "back":
            ledger.start(lease)
            ledger.give_back("w1")
            ledger.cancel(task_id)
        elif task_id == "lost":
            ledger.lose(lease)
            ledger.cancel(task_id)
        else:
            ledger.succeed(lease)
    assert groups(ledger) == []


def test_a_quarantine_counts_however_the_death_was_seen(ledger: Ledger):
    ledger.settings = replace(ledger.settings, max_deaths=1, max_handovers=1, release="r1")
    ledger.send("a", "b", "c", "other", priority=1)
    ledger.send("d", name="shop.mail")
    leases = [ledger.lease("w1") for _ in range(3)]
    ledger.start(leases[0])
    killed = AttemptFailure("its process died: signal 9 (SIGKILL) Job: 3.", "WorkerLostError", signal=9)
    ledger.do(reap.lose, leases[0], killed, ledger.settings, is_blamed=True, outcome="killed")
    for lease in leases[1:]:
        ledger.start(lease)
    ledger.die("w1")
    assert len(ledger.reap()) == 2
    found = group(ledger)
    assert (found.failures, found.kept, found.first_release) == (3, 3, "r1")
    assert found.title == "WorkerLostError in shop.pay"


def test_a_zombie_counts_nothing(ledger: Ledger):
    ledger.send("a")
    zombie = ledger.lease("w1")
    ledger.lose(zombie)
    assert not ledger.fail(zombie, trouble())
    assert not ledger.do(finish.retry, zombie, envelope("a"), trouble())
    assert groups(ledger) == []
    assert ledger.fail(ledger.lease("w1"), trouble())
    assert group(ledger).failures == 1
    assert not ledger.fail(Lease("a", 2, "w1"), trouble())
    assert group(ledger).failures == 1


def test_what_is_rolled_back_was_not_counted(ledger: Ledger):
    ledger.send("a")
    lease = ledger.lease("w1")
    with rolled_back(ledger.connection) as tx:
        assert finish.fail(tx, lease, trouble())
    assert groups(ledger) == []


def test_concurrent_failures_of_few_groups_are_all_counted(ledger: Ledger, source: Source):
    threads, each = 6, 12
    ids = [f"t{n}" for n in range(threads * each)]
    ledger.send(*ids)
    leases = [taken.lease for taken in ledger.take("w1", len(ids))]
    errors: list[BaseException] = []

    def fail(mine: list[Lease]) -> None:
        try:
            with Ledger(source) as own:
                for number, lease in enumerate(mine):
                    assert own.fail(lease, trouble(f"f{'abc'[number % 3]}"))
        except BaseException as error:  # noqa: BLE001 (told below)
            errors.append(error)

    running = [threading.Thread(target=fail, args=(leases[n::threads],)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert errors == []
    assert [found.failures for found in groups(ledger)] == [threads * each // 3] * 3


def test_many_groups_at_once_are_counted_in_one_order_by_everybody(ledger: Ledger, source: Source):
    """Two reapers that quarantine for the same causes wait for each other, and not in a ring."""
    kinds = "abcdefgh"
    row = row_class(("id", "fence", "name"))
    rows = [row.all([(f"{kind}{n}", 1, f"shop.{kind}") for kind in kinds]) for n in range(20)]
    died = AttemptFailure("its worker died", "WorkerLostError")
    errors: list[BaseException] = []

    def reap_some(backwards: bool) -> None:
        try:
            with Ledger(source) as own:
                for batch in rows:
                    found = batch[::-1] if backwards else batch
                    own.do(failures.note, found, failures.causes(found, died), None)
        except BaseException as error:  # noqa: BLE001 (told below)
            errors.append(error)

    running = [threading.Thread(target=reap_some, args=(bool(n % 2),)) for n in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert errors == []
    assert [found.failures for found in groups(ledger)] == [80] * len(kinds)


def test_a_thousand_failures_of_twelve_causes_over_three_releases_are_twelve_groups(ledger: Ledger):
    ids = [f"t{n}" for n in range(1_000)]
    ledger.send(*ids)
    leases = [taken.lease for taken in ledger.take("w1", len(ids))]
    with ledger.connection.transaction() as tx:
        for number, lease in enumerate(leases):
            cause, release = number % 12, 1 + number * 3 // 1_000
            if cause >= 6 and release == 1:  # six causes come with the second release
                cause -= 6
            assert finish.fail(tx, lease, _seen(cause, release, number))
    found = groups(ledger)
    assert len(found) == 12
    assert sum(one.failures for one in found) == 1_000
    assert Counter(one.first_release for one in found) == {"r1": 6, "r2": 6}
    assert {one.last_release for one in found} == {"r3"}


def _seen(cause: int, release: int, number: int) -> AttemptFailure:
    """One of twelve causes as that release raises it: other lines, other values, and in the third wrapped."""
    kind, function = ("ValueError", "KeyError", "shop.errors.Refused")[cause % 3], f"do_{'abcd'[cause // 3]}"
    message = (f"order {number} of 'c{number}' at 10:0{number % 10}", repr(number), f"card {number:x}a{number}")[
        cause % 3
    ]
    own = f"""Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/celery/app/trace.py", line {400 + release}, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/releases/2026{release}/shop/tasks.py", line {10 * release}, in run
    {function}(order)
  File "/srv/releases/2026{release}/shop/orders.py", line {100 * release + number % 2}, in {function}
    check(order)
{kind}: {message}
"""
    if release == 3:
        own += f"""
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/releases/2026{release}/shop/tasks.py", line 11, in run
    {function}(order)
  File "/srv/releases/2026{release}/shop/orders.py", line 301, in {function}
    raise OrderFailed(order) from error
shop.errors.OrderFailed: {number}
"""
        return AttemptFailure(f"OrderFailed: {number}", "shop.errors.OrderFailed", own, release="r3")
    return AttemptFailure(f"{kind}: {message}", kind, own, release=f"r{release}")


def test_what_was_resolved_and_fails_again_is_a_regression(ledger: Ledger):
    failed(ledger, "a", why=trouble(release="r1"))
    found = group(ledger)
    assert ledger.do(failures.resolve, found.id, "ann", "mended")
    resolved = group(ledger)
    assert (resolved.status, resolved.decided_by, resolved.note) == (GroupStatus.RESOLVED, "ann", "mended")
    failed(ledger, "b", why=trouble(release="r1"))
    again = group(ledger)
    assert (again.status, again.regressions, again.regressed_in) == (GroupStatus.REGRESSED, 1, "r1")
    failed(ledger, "c", why=trouble(release="r1"))
    assert group(ledger).regressions == 1


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("r1", GroupStatus.RESOLVED),  # its workers have not been restarted yet
        ("r2", GroupStatus.RESOLVED),
        ("r3", GroupStatus.REGRESSED),  # it should have been mended there
        ("r4", GroupStatus.REGRESSED),
        (None, GroupStatus.REGRESSED),  # nobody knows
    ],
)
def test_resolved_in_a_release_it_may_still_fail_where_it_did(ledger: Ledger, release: str | None, status: GroupStatus):
    failed(ledger, "a", why=trouble(release="r1"))
    failed(ledger, "b", why=trouble(release="r2"))
    failed(ledger, "old worker", why=trouble(release="r1"))
    ledger.do(failures.resolve, group(ledger).id, "ann", None, "r3")
    failed(ledger, "c", why=trouble(release=release))
    failed(ledger, "d", why=trouble(release=release))
    found = group(ledger)
    assert (found.status, found.failures) == (status, 5)
    assert found.regressions == (status is GroupStatus.REGRESSED)
    assert found.last_release == (release if release not in ("r1", None) else "r2")


@pytest.mark.parametrize(
    ("until", "quiet"), [(Ignoring(more=2), 2), (Ignoring(per_hour=3), 2), (Ignoring(), 9), (Ignoring(for_s=60), 9)]
)
def test_what_is_ignored_is_quiet_until_its_condition_is_over(ledger: Ledger, until: Ignoring, quiet: int):
    failed(ledger, "first")
    ledger.do(failures.ignore, group(ledger).id, "ann", until)
    for number in range(5):
        failed(ledger, f"t{number}")
        assert group(ledger).status is (GroupStatus.IGNORED if number < quiet else GroupStatus.OPEN)
    assert group(ledger).failures == 6
    assert group(ledger).regressions == 0


def test_what_is_ignored_for_a_time_is_listed_again_after_it(ledger: Ledger):
    failed(ledger, "a")
    ledger.do(failures.ignore, group(ledger).id, "ann", Ignoring(for_s=60))
    ledger.passes(61)
    assert group(ledger).status is GroupStatus.OPEN  # although nothing failed since
    failed(ledger, "b")
    ledger.count_failures()
    assert ledger.query("SELECT state FROM mirepoix_failure_group") == [("open",)]


def test_the_failures_of_an_hour_are_counted_anew_after_it(ledger: Ledger):
    failed(ledger, "a", "b")
    ledger.do(failures.ignore, group(ledger).id, "ann", Ignoring(per_hour=3))
    ledger.passes(3_601)
    assert group(ledger).last_hour == 0
    failed(ledger, "c", "d", "e")
    assert (group(ledger).status, group(ledger).last_hour) == (GroupStatus.IGNORED, 3)
    failed(ledger, "f")
    assert group(ledger).status is GroupStatus.OPEN


def test_opening_takes_a_decision_back(ledger: Ledger):
    failed(ledger, "a")
    ledger.do(failures.ignore, group(ledger).id, "ann", Ignoring(more=5))
    assert ledger.do(failures.reopen, group(ledger).id, "bob")
    assert (group(ledger).status, group(ledger).ignored_to) == (GroupStatus.OPEN, None)
    assert not ledger.do(failures.reopen, "nothing", "bob")


def begin(ledger: Ledger, *, tasks: int = 0) -> str:
    """Begin a replay of the only group."""
    return ledger.do(replay.begin, group(ledger).id, "ann", "mended", tasks=tasks, canaries=0, rate_per_s=50.0)


def test_a_replay_runs_the_oldest_again_with_all_their_chances(ledger: Ledger):
    failed(ledger, "a", "b", "c")
    chosen = ledger.do(replay.choose, group(ledger).id, 2)
    assert [one.task_id for one in chosen] == ["a", "b"]
    replay_id = begin(ledger, tasks=2)
    assert ledger.do(replay.run_again, replay_id, chosen, "mended", "ann") == ["a", "b"]
    assert ledger.states() == {"a": "pending", "b": "pending", "c": "failed"}
    assert (group(ledger).kept, group(ledger).waiting) == (1, 2)
    assert ledger.row("a")["reason"] == "mended"
    ledger.succeed(ledger.lease("w1"))
    assert (group(ledger).kept, group(ledger).waiting) == (1, 1)


def test_of_two_replays_at_once_each_task_is_run_by_one(ledger: Ledger):
    failed(ledger, "a", "b")
    chosen = ledger.do(replay.choose, group(ledger).id)
    first, second = begin(ledger), begin(ledger)
    assert ledger.do(replay.run_again, first, chosen, "x", "ann") == ["a", "b"]
    assert ledger.do(replay.run_again, second, chosen, "x", "ann") == []
    ledger.fail(ledger.lease("w1"), trouble())
    # It failed again since the second one chose it: that is news, and not what was meant.
    assert ledger.do(replay.run_again, second, chosen, "x", "ann") == []
    assert sorted(ledger.states().values()) == ["failed", "pending"]


def test_undoing_makes_what_has_not_started_what_it_was(ledger: Ledger):
    ledger.settings = replace(ledger.settings, max_deaths=1)
    ledger.send("killer", name="shop.kill")
    lease = ledger.lease("w1")
    ledger.start(lease)
    ledger.lose(lease)
    failed(ledger, "waits", "taken")
    ledger.do(
        results.store, [Result("waits", "FAILURE", '{"exc_type": "ValueError"}', "Traceback", '{"children": []}')]
    )
    before = {id: ledger.row(id) for id in ("killer", "waits")}
    undone = []
    for found in groups(ledger):
        chosen = ledger.do(replay.choose, found.id)
        replay_id = ledger.do(replay.begin, found.id, "ann", "x", tasks=2, canaries=0, rate_per_s=1.0)
        ledger.do(replay.run_again, replay_id, chosen, "x", "ann")
        undone.append(replay_id)
    ledger.write("UPDATE mirepoix_task SET priority = 99 WHERE id = 'taken'")
    assert ledger.query("SELECT count(*) FROM mirepoix_result") == [(0,)]
    (taken,) = ledger.take("w1", 1)
    assert taken.lease.task_id == "taken"
    assert sorted(task_id for id in undone for task_id in ledger.do(replay.take_back, id, 100)) == ["killer", "waits"]
    for task_id, row in before.items():
        now = ledger.row(task_id)
        same = ("state", "reason", "finished_at", "retries", "deaths", "handovers", "fence", "failure_group")
        assert {name: now[name] for name in same} == {name: row[name] for name in same}
        assert len(ledger.attempts(task_id)) == 1
    assert ledger.state("taken") == "leased"
    kept = ledger.query("SELECT task_id, status, result, traceback FROM mirepoix_result")
    assert kept == [("waits", "FAILURE", '{"exc_type": "ValueError"}', "Traceback")]
    assert [ledger.do(replay.take_back, id, 100) for id in undone] == [[], []]
    assert ledger.succeed(taken.lease)


def test_what_was_undone_can_be_replayed_and_is_not_undone_by_the_first_undo(ledger: Ledger):
    failed(ledger, "a")
    first = begin(ledger)
    ledger.do(replay.run_again, first, ledger.do(replay.choose, group(ledger).id), "x", "ann")
    assert ledger.do(replay.take_back, first, 10) == ["a"]
    second = begin(ledger)
    assert ledger.do(replay.run_again, second, ledger.do(replay.choose, group(ledger).id), "x", "ann") == ["a"]
    assert ledger.do(replay.take_back, first, 10) == []
    assert ledger.state("a") == "pending"


def test_a_replayed_task_that_waits_for_its_retry_has_started_and_is_not_taken_back(ledger: Ledger):
    failed(ledger, "a")
    replay_id = begin(ledger)
    ledger.do(replay.run_again, replay_id, ledger.do(replay.choose, group(ledger).id), "x", "ann")
    ledger.do(finish.retry, ledger.lease("w1"), envelope("a", retries=1), trouble())
    (seen,) = ledger.do(replay.progress, replay_id)
    assert (seen.is_over, seen.is_trying, seen.is_untouched) == (True, True, False)
    assert ledger.do(replay.take_back, replay_id, 10) == []


def test_everything_about_a_group_can_be_told(ledger: Ledger):
    failed(ledger, "a", "b")
    replay_id = begin(ledger, tasks=1)
    ledger.do(replay.run_again, replay_id, ledger.do(replay.choose, group(ledger).id, 1), "x", "ann")
    ledger.do(replay.end, replay_id, "done")
    detail = ledger.do(query.group_detail, group(ledger))
    assert {(one.name, one.state, one.count) for one in detail.tasks} == {
        ("shop.pay", "failed", 1),
        ("shop.pay", "pending", 1),
    }
    assert detail.latest.task_id == "b"
    assert "in price" in detail.latest.traceback
    (line,) = detail.replays
    assert (line.id, line.tasks, line.replayed, line.undone, line.outcome) == (replay_id, 1, 1, 0, "done")


def test_the_tests_own_trouble_is_a_cause_too(ledger: Ledger):
    failed(ledger, "a", why=OOPS)
    assert group(ledger).title == "ValueError: it went wrong in shop.pay"


# ---- counting


def test_nobody_who_fails_waits_for_another_that_fails_by_the_same_cause(ledger: Ledger, source: Source):
    if source.dialect == "sqlite":
        pytest.skip("an SQLite file has one writer at a time, whatever it writes")
    failed(ledger, "known")
    ledger.count_failures()
    ledger.send("a", "b")
    first, second = ledger.lease("w1"), ledger.lease("w1")
    with Ledger(source) as other, rolled_back(ledger.connection) as tx:
        assert finish.fail(tx, first, trouble())
        other.write("SET lock_timeout = 1000" if source.dialect == "postgresql" else "SET innodb_lock_wait_timeout = 1")
        assert other.fail(second, trouble())
    assert group(ledger).failures == 2


def test_one_who_dies_amid_counting_has_counted_nothing(ledger: Ledger):
    failed(ledger, "a", "b")
    with rolled_back(ledger.connection) as tx:
        assert counting.count(tx) == 2
    assert ledger.do(counting.is_behind)
    assert group(ledger).failures == 2
    assert not ledger.do(counting.is_behind)
    assert group(ledger).failures == 2


def test_a_backlog_of_failures_is_counted_in_short_transactions_and_no_more_than_asked_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(counting, "AT_ONCE", 2)
    failed(ledger, *"abcde")
    counting.count_all(ledger.connection, at_most=2)
    assert [one.failures for one in ledger.do(query.groups)] == [4]
    assert group(ledger).failures == 5


def test_two_who_count_at_once_count_each_failure_once(ledger: Ledger, source: Source):
    if source.dialect == "sqlite":
        pytest.skip("an SQLite file has one writer at a time")
    failed(ledger, "a", "b", "c")
    with ledger.connection.transaction() as tx, Ledger(source) as other:
        assert len(tx.fetch("take_failures", most=2)) == 2
        assert other.do(counting.count) == 1
    assert group(ledger).failures == 1


def test_what_failed_before_it_was_resolved_is_no_regression_when_it_is_counted_later(ledger: Ledger):
    failed(ledger, "a", "b")
    ledger.count_failures()
    failed(ledger, "late")
    ledger.write("UPDATE mirepoix_failure SET failed_at = '2026-01-01 00:00:00.000'")
    ((row,),) = ledger.query("SELECT id FROM mirepoix_failure_group")
    ledger.do(lambda tx: tx.fetch("resolve_failure_group", id=row, resolved_in=None, decided_by="ann", note=None))
    found = group(ledger)
    assert (found.status, found.failures, found.last_task_id) == (GroupStatus.RESOLVED, 3, "b")
    failed(ledger, "after")
    assert group(ledger).status is GroupStatus.REGRESSED


def test_failures_of_several_releases_that_are_counted_together_are_told_apart(ledger: Ledger):
    failed(ledger, "a", why=trouble(release="r1"))
    failed(ledger, "b", why=trouble("ship", release="r2"))
    failed(ledger, "c", why=trouble(release="r2"))
    failed(ledger, "d", why=trouble(release="r1"))
    found = {one.title[-5:]: (one.failures, one.first_release, one.last_release) for one in groups(ledger)}
    assert found == {"price": (3, "r1", "r2"), ".ship": (1, "r2", "r2")}


def test_failures_that_are_counted_hours_later_are_not_of_this_hour(ledger: Ledger):
    failed(ledger, "a")
    ledger.passes(5 * 3600.0)
    found = group(ledger)
    assert (found.failures, found.last_hour) == (1, 0)
    assert found.last_seen_s == pytest.approx(5 * 3600, abs=60)


@pytest.mark.parametrize("again", [False, True])
def test_a_task_that_fails_by_the_same_cause_again_is_written_once(ledger: Ledger, source: Source, again: bool):
    if source.dialect != "postgresql":
        pytest.skip("only PostgreSQL tells how many rows a transaction has updated")
    ledger.send("a")
    if again:
        assert ledger.do(finish.retry, ledger.lease("w1"), envelope("a", retries=1), trouble())
    lease = ledger.lease("w1")
    updated = "SELECT pg_stat_get_xact_tuples_updated('mirepoix_task'::regclass)"
    with ledger.connection.transaction() as tx:
        ((before,),) = tx.query(updated)
        assert finish.fail(tx, lease, trouble())
        assert tx.query(updated) == [(before + (1 if again else 2),)]
    assert group(ledger).failures == 1 + again


# ---- forgetting


DAY_S = 24 * 3600.0


def test_a_cause_that_nothing_failed_by_for_long_is_forgotten(ledger: Ledger):
    failed(ledger, "a", why=trouble("price"))
    failed(ledger, "b", why=trouble("ship"))
    ledger.count_failures()
    ledger.write("DELETE FROM mirepoix_task WHERE id = 'a'")
    ledger.do(failures.prune, DAY_S)
    assert ledger.query("SELECT COUNT(*) FROM mirepoix_failure_group") == [(2,)]
    ledger.passes(2 * DAY_S)
    ledger.do(failures.prune, DAY_S)
    assert group(ledger).last_task_id == "b"  # it bears the other one


def test_what_is_ignored_is_not_forgotten(ledger: Ledger):
    failed(ledger, "a")
    ledger.do(failures.ignore, group(ledger).id, "ann", Ignoring())
    ledger.write("DELETE FROM mirepoix_task")
    ledger.passes(2 * DAY_S)
    ledger.do(failures.prune, DAY_S)
    assert ledger.query("SELECT state FROM mirepoix_failure_group") == [("ignored",)]


def test_a_replay_is_remembered_as_long_as_one_of_its_tasks(ledger: Ledger):
    moment = "'2020-01-01 00:00:00.000000'"
    columns = "id, failure_group, began_at, began_by, reason, tasks, canaries, rate_per_s, ended_at"
    for name in ("old", "kept"):
        values = f"'{name}', 'g', {moment}, 'ann', '', 1, 0, 1, {moment}"
        ledger.write(f"INSERT INTO mirepoix_replay ({columns}) VALUES ({values})")
    failed(ledger, "a")
    columns = "replay_id, task_id, replayed_at, fence, generation, state, retries, deaths, handovers"
    ledger.write(f"INSERT INTO mirepoix_replayed ({columns}) VALUES ('kept', 'a', {moment}, 1, 1, 'failed', 0, 0, 0)")
    ledger.do(failures.prune, DAY_S)
    assert ledger.query("SELECT id FROM mirepoix_replay") == [("kept",)]
