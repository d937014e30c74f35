"""Transactional tasks whose processes, connections and servers die, or stand still, around their COMMIT."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from transaction_harness import Open, TransactionHarness, opening
from workers import DEADLINE_S, Process, until

from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.crashpoints import Crashpoint
from servers import PostgresServer

pytestmark = pytest.mark.slow

OUTCOME = (Crashpoint.OUTCOME_BEFORE_COMMIT, Crashpoint.OUTCOME_AFTER_COMMIT)
SLOW_COMMIT = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON deed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.word = 'slow') EXECUTE FUNCTION slow()
"""


@pytest.fixture
def open_harness(tmp_path: Path) -> Iterator[Open]:
    """Opens a harness at a ledger's URL."""
    with opening(tmp_path) as open_:
        yield open_


@pytest.fixture(params=["session", "plain", "django"])
def harness(open_harness: Open, ledger_url: str, request: pytest.FixtureRequest) -> TransactionHarness:
    """One of each kind, on each database."""
    return open_harness(ledger_url, request.param)


@pytest.fixture(params=["session", "engine", "plain", "django"])
def pg_harness(open_harness: Open, postgresql_url: str, request: pytest.FixtureRequest) -> TransactionHarness:
    """One of each kind, on PostgreSQL."""
    return open_harness(postgresql_url, request.param)


SERVED = [
    *(("postgresql", how) for how in ("session", "engine", "plain", "django")),
    *(("mariadb", how) for how in ("session", "plain", "django")),
]


@pytest.fixture(params=SERVED, ids="-".join)
def served_harness(open_harness: Open, request: pytest.FixtureRequest) -> TransactionHarness:
    """One of each kind, on each database that is a server."""
    database, how = request.param
    harness = open_harness(request.getfixturevalue(f"{database}_url"), how)
    harness.server = request.getfixturevalue(f"{database}_server")
    return harness


def link_of(harness: TransactionHarness) -> Any:
    link = harness.task("listed", "linked")
    link.freeze()
    return link


@pytest.mark.parametrize("point", OUTCOME, ids=str)
def test_a_process_that_dies_around_the_commit_leaves_all_or_nothing(
    harness: TransactionHarness, point: Crashpoint
) -> None:
    harness.make("token")
    armed = {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": str(harness.folder / "token")}
    harness.worker(env=armed, concurrency=1)
    link = link_of(harness)
    id = harness.work("write a", "orm b", "send child", link=link)
    harness.wait(["child", link.id], "succeeded")
    is_committed = point is Crashpoint.OUTCOME_AFTER_COMMIT
    assert not (harness.folder / "token").exists()
    assert harness.words(id) == ["a", "b"]
    assert harness.runs(id) == (1 if is_committed else 2)
    assert (harness.runs("child"), harness.runs(link.id)) == (1, 1)
    assert harness.row(id)["generation"] == 0


@pytest.mark.parametrize("point", OUTCOME, ids=str)
def test_a_whole_worker_that_dies_around_the_commit_leaves_all_or_nothing(
    harness: TransactionHarness, point: Crashpoint
) -> None:
    victim = harness.worker("victim", pool="solo", concurrency=1, env={"MIREPOIX_CRASHPOINT": str(point)})
    id = harness.send("work", "write a", "send child")
    assert victim.ends().exit_code == -signal.SIGKILL
    harness.worker("other", concurrency=1)
    harness.wait([id, "child"], "succeeded")
    assert (harness.words(id), harness.runs("child")) == (["a"], 1)
    assert harness.runs(id) == (1 if point is Crashpoint.OUTCOME_AFTER_COMMIT else 2)


def test_what_a_killed_process_wrote_is_gone(harness: TransactionHarness) -> None:
    harness.make("die")
    harness.worker(concurrency=1)
    id = harness.work("write a", "send child", "die die")
    harness.wait("child", "succeeded")
    assert (harness.words(id), harness.runs(id), harness.runs("child")) == (["a"], 2, 1)


def test_a_process_that_is_killed_in_its_commit_leaves_all_or_nothing(pg_harness: TransactionHarness) -> None:
    harness = pg_harness
    harness.ledger.write(SLOW_COMMIT)
    harness.worker(concurrency=1)
    id = harness.send("work", "write slow", "send child")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: harness.ledger.query(sleeping) == [(1,)], "it is in its COMMIT")
    os.kill(harness.effects(id, "begin")[0].pid, signal.SIGKILL)
    harness.wait([id, "child"], "succeeded")
    assert harness.words(id) == ["slow"]
    assert (harness.runs(id), harness.outcomes(id), harness.runs("child")) == (1, ["succeeded"], 1)


# The connection, the server


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_task_whose_connection_is_ended_before_its_commit_runs_again(
    open_harness: Open, postgresql_url: str, driver: str
) -> None:
    harness = open_harness(postgresql_url, "session", TRANSACTION_APP_DRIVER=driver)
    _connection_ends(harness)


def test_so_does_one_of_any_other_kind(served_harness: TransactionHarness) -> None:
    _connection_ends(served_harness)


def _connection_ends(harness: TransactionHarness) -> None:
    harness.make("cut")
    harness.worker()
    link = link_of(harness)
    id = harness.work(
        "write a", "send child", "end-connection cut", link=link, link_error=harness.task("errback_in_place")
    )
    harness.wait(["child", link.id], "succeeded")
    assert harness.words(id) == ["a"]
    assert (harness.runs(id), harness.outcomes(id)) == (2, ["rolled back", "succeeded"])
    assert (harness.runs("child"), harness.runs(link.id)) == (1, 1)
    assert not harness.calls_errbacks(id)
    assert (harness.row(id)["deaths"], harness.row(id)["retries"]) == (0, 0)


def test_one_that_is_quarantined_by_that_calls_its_error_callbacks(open_harness: Open, postgresql_url: str) -> None:
    harness = open_harness(postgresql_url, "session")
    harness.make("cut")
    harness.worker(max_handovers=1)
    errback = harness.task("errback_in_place")
    id = harness.work("write a", "end-connection cut", link_error=errback, state="quarantined")
    assert (harness.words(id), harness.outcomes(id)) == ([], ["rolled back"])
    assert harness.calls_errbacks(id)


def test_a_task_in_whose_middle_the_server_restarts_runs_again(served_harness: TransactionHarness) -> None:
    harness = served_harness
    harness.worker()
    ids = [harness.send("work", f"write {n}", "mark written", "wait open") for n in range(2)]
    until(lambda: all(harness.effects(id, "written") for id in ids), "they are in their middle")
    harness.server.kill()
    harness.make("open")
    until(lambda: all(harness.effects(id, "end") for id in ids), "their code ended while the database was away")
    harness.server.start()
    harness.ledger.connection.close()
    harness.ledger = Ledger(source_for(harness.url))
    harness.wait(ids, "succeeded")
    assert harness.words() == ["0", "1"]
    assert [harness.outcomes(id) for id in ids] == [["rolled back", "succeeded"]] * 2


def test_a_task_that_finds_no_database_at_its_beginning_runs_later(
    pg_harness: TransactionHarness, postgresql_server: PostgresServer
) -> None:
    harness = pg_harness
    worker = harness.worker(concurrency=1)
    assert harness.app.AsyncResult("none").state == "PENDING"  # this process has its connection, the pool's has none
    name = harness.url.rpartition("/")[2]
    with psycopg.connect(postgresql_server.url(), autocommit=True) as elsewhere:
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        id = harness.send("work", "write a")
        worker.says("could not begin")
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    harness.wait(id, "succeeded")
    assert (harness.words(id), harness.runs(id)) == (["a"], 1)
    assert harness.outcomes(id) == ["rolled back", "succeeded"]


# Zombies


def freeze_in_the_middle(harness: TransactionHarness, *lines: str) -> tuple[str, Any, Process]:
    """Stand a worker still, with its pool, after its task has written; another waits."""
    link = link_of(harness)
    frozen = harness.worker("frozen", concurrency=1, lease_ttl_s=1)
    id = harness.send("work", *lines, "mark wrote", "wait open", link=link)
    until(lambda: harness.effects(id, "wrote") and _state(harness, id) != "pending", "it wrote")
    frozen.freeze(holds_file=True)
    return id, link, frozen


def _state(harness: TransactionHarness, id: str) -> str:
    return harness.ledger.query("SELECT state FROM mirepoix_task WHERE id = :id", id=id)[0][0]


def ends_once(harness: TransactionHarness, id: str, link: Any, word: str) -> None:
    harness.wait([id, link.id], "succeeded")
    until(lambda: len(harness.effects(id, "end")) == 2, "both runs came to their end")
    assert harness.words(id) == [word]
    assert (harness.runs(id), harness.runs(link.id)) == (2, 1)
    assert harness.outcomes(id) == ["lost", "succeeded"]
    assert harness.row(id)["worker_id"].startswith("other@test#")
    assert harness.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"


def test_the_commit_of_a_zombie_is_refused_and_leaves_nothing(served_harness: TransactionHarness) -> None:
    harness = served_harness
    id, link, frozen = freeze_in_the_middle(harness, "write-fence a")
    harness.worker("other", concurrency=1, lease_ttl_s=1)
    until(lambda: len(harness.effects(id, "wrote")) == 2, "another has come as far")
    harness.make("open")
    harness.wait(id, "succeeded")
    frozen.thaw()
    frozen.says("was refused: its lease was lost")
    ends_once(harness, id, link, "a-2")


def test_who_waits_for_the_locks_of_a_zombie_goes_on_when_it_wakes(served_harness: TransactionHarness) -> None:
    harness = served_harness
    id, link, frozen = freeze_in_the_middle(harness, "write a", "send child")
    harness.worker("other", concurrency=1, lease_ttl_s=1)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO deed%'"
    if harness.is_mysql:
        waiting = (
            "SELECT count(*) FROM information_schema.processlist"
            " WHERE db = DATABASE() AND info LIKE 'INSERT INTO deed%'"
            " AND /*M! time_ms > 100 *//*!80000 time >= 1 */"
        )
    until(lambda: harness.ledger.query(waiting) == [(1,)], "the other waits for what the zombie wrote")
    assert len(harness.effects(id, "wrote")) == 1
    harness.make("open")
    frozen.thaw()
    frozen.says("was refused: its lease was lost")
    ends_once(harness, id, link, "a")
    harness.wait("child", "succeeded")
    assert harness.runs("child") == 1


def test_on_sqlite_nobody_can_take_its_task_from_who_holds_the_file(open_harness: Open, sqlite_url: str) -> None:
    harness = open_harness(sqlite_url, "plain")
    harness.worker("other", concurrency=1, lease_ttl_s=1)
    waiting = harness.send("hold", "open")  # keeps the other one busy until the lease is over
    harness.begun(waiting)
    id, link, frozen = freeze_in_the_middle(harness, "write-fence a")
    late = "SELECT count(*) FROM mirepoix_worker WHERE alive_until < strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 seconds')"
    until(lambda: harness.ledger.query(late) != [(0,)], "the leases have run out")
    harness.make("open")
    frozen.thaw()
    harness.wait([id, link.id, waiting], "succeeded")
    assert (harness.words(id), harness.runs(id)) == (["a-1"], 1)
