"""Transactional tasks whose processes, connections and servers die, or stand still, around their COMMIT."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from banks import Bank, Open, opening
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
def open_bank(tmp_path: Path) -> Iterator[Open]:
    """Opens a bank at a ledger's URL."""
    with opening(tmp_path) as open_:
        yield open_


@pytest.fixture(params=["session", "plain", "django"])
def bank(open_bank: Open, ledger_url: str, request: pytest.FixtureRequest) -> Bank:
    """One of each kind, on each database."""
    return open_bank(ledger_url, request.param)


@pytest.fixture(params=["session", "engine", "plain", "django"])
def pg_bank(open_bank: Open, postgresql_url: str, request: pytest.FixtureRequest) -> Bank:
    """One of each kind, on PostgreSQL."""
    return open_bank(postgresql_url, request.param)


SERVED = [
    *(("postgresql", how) for how in ("session", "engine", "plain", "django")),
    *(("mariadb", how) for how in ("session", "plain", "django")),
]


@pytest.fixture(params=SERVED, ids="-".join)
def served_bank(open_bank: Open, request: pytest.FixtureRequest) -> Bank:
    """One of each kind, on each database that is a server."""
    database, how = request.param
    bank = open_bank(request.getfixturevalue(f"{database}_url"), how)
    bank.server = request.getfixturevalue(f"{database}_server")
    return bank


def link_of(bank: Bank) -> Any:
    link = bank.task("listed", "linked")
    link.freeze()
    return link


@pytest.mark.parametrize("point", OUTCOME, ids=str)
def test_a_process_that_dies_around_the_commit_leaves_all_or_nothing(bank: Bank, point: Crashpoint) -> None:
    bank.make("token")
    armed = {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": str(bank.folder / "token")}
    bank.worker(env=armed, concurrency=1)
    link = link_of(bank)
    id = bank.work("write a", "orm b", "send child", link=link)
    bank.wait(["child", link.id], "succeeded")
    is_committed = point is Crashpoint.OUTCOME_AFTER_COMMIT
    assert not (bank.folder / "token").exists()
    assert bank.words(id) == ["a", "b"]
    assert bank.runs(id) == (1 if is_committed else 2)
    assert (bank.runs("child"), bank.runs(link.id)) == (1, 1)
    assert bank.row(id)["generation"] == 0


@pytest.mark.parametrize("point", OUTCOME, ids=str)
def test_a_whole_worker_that_dies_around_the_commit_leaves_all_or_nothing(bank: Bank, point: Crashpoint) -> None:
    victim = bank.worker("victim", pool="solo", concurrency=1, env={"MIREPOIX_CRASHPOINT": str(point)})
    id = bank.send("work", "write a", "send child")
    assert victim.ends().exit_code == -signal.SIGKILL
    bank.worker("other", concurrency=1)
    bank.wait([id, "child"], "succeeded")
    assert (bank.words(id), bank.runs("child")) == (["a"], 1)
    assert bank.runs(id) == (1 if point is Crashpoint.OUTCOME_AFTER_COMMIT else 2)


def test_what_a_killed_process_wrote_is_gone(bank: Bank) -> None:
    bank.make("die")
    bank.worker(concurrency=1)
    id = bank.work("write a", "send child", "die die")
    bank.wait("child", "succeeded")
    assert (bank.words(id), bank.runs(id), bank.runs("child")) == (["a"], 2, 1)


def test_a_process_that_is_killed_in_its_commit_leaves_all_or_nothing(pg_bank: Bank) -> None:
    bank = pg_bank
    bank.ledger.write(SLOW_COMMIT)
    bank.worker(concurrency=1)
    id = bank.send("work", "write slow", "send child")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: bank.ledger.query(sleeping) == [(1,)], "it is in its COMMIT")
    os.kill(bank.effects(id, "begin")[0].pid, signal.SIGKILL)
    bank.wait([id, "child"], "succeeded")
    assert bank.words(id) == ["slow"]
    assert (bank.runs(id), bank.outcomes(id), bank.runs("child")) == (1, ["succeeded"], 1)


# The connection, the server


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_task_whose_connection_is_ended_before_its_commit_runs_again(
    open_bank: Open, postgresql_url: str, driver: str
) -> None:
    bank = open_bank(postgresql_url, "session", BANK_DRIVER=driver)
    _connection_ends(bank)


def test_so_does_one_of_any_other_kind(served_bank: Bank) -> None:
    _connection_ends(served_bank)


def _connection_ends(bank: Bank) -> None:
    bank.make("cut")
    bank.worker()
    link = link_of(bank)
    id = bank.work("write a", "send child", "end-connection cut", link=link, link_error=bank.task("errback_in_place"))
    bank.wait(["child", link.id], "succeeded")
    assert bank.words(id) == ["a"]
    assert (bank.runs(id), bank.outcomes(id)) == (2, ["rolled back", "succeeded"])
    assert (bank.runs("child"), bank.runs(link.id)) == (1, 1)
    assert not bank.calls_errbacks(id)
    assert (bank.row(id)["deaths"], bank.row(id)["retries"]) == (0, 0)


def test_a_task_in_whose_middle_the_server_restarts_runs_again(served_bank: Bank) -> None:
    bank = served_bank
    bank.worker()
    ids = [bank.send("work", f"write {n}", "mark written", "wait open") for n in range(2)]
    until(lambda: all(bank.effects(id, "written") for id in ids), "they are in their middle")
    bank.server.kill()
    bank.make("open")
    until(lambda: all(bank.effects(id, "end") for id in ids), "their code ended while the database was away")
    bank.server.start()
    bank.ledger.connection.close()
    bank.ledger = Ledger(source_for(bank.url))
    bank.wait(ids, "succeeded")
    assert bank.words() == ["0", "1"]
    assert [bank.outcomes(id) for id in ids] == [["rolled back", "succeeded"]] * 2


def test_a_task_that_finds_no_database_at_its_beginning_runs_later(
    pg_bank: Bank, postgresql_server: PostgresServer
) -> None:
    bank = pg_bank
    worker = bank.worker(concurrency=1)
    assert bank.app.AsyncResult("none").state == "PENDING"  # this process has its connection, the pool's has none
    name = bank.url.rpartition("/")[2]
    with psycopg.connect(postgresql_server.url(), autocommit=True) as elsewhere:
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        id = bank.send("work", "write a")
        worker.says("could not begin")
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    bank.wait(id, "succeeded")
    assert (bank.words(id), bank.runs(id)) == (["a"], 1)
    assert bank.outcomes(id) == ["rolled back", "succeeded"]


# Zombies


def freeze_in_the_middle(bank: Bank, *lines: str) -> tuple[str, Any, Process]:
    """Stand a worker still, with its pool, after its task has written; another waits."""
    link = link_of(bank)
    frozen = bank.worker("frozen", concurrency=1, lease_ttl_s=1)
    id = bank.send("work", *lines, "mark wrote", "wait open", link=link)
    until(lambda: bank.effects(id, "wrote") and _state(bank, id) != "pending", "it wrote")
    frozen.freeze(holds_file=True)
    return id, link, frozen


def _state(bank: Bank, id: str) -> str:
    return bank.ledger.query("SELECT state FROM mirepoix_task WHERE id = :id", id=id)[0][0]


def ends_once(bank: Bank, id: str, link: Any, word: str) -> None:
    bank.wait([id, link.id], "succeeded")
    until(lambda: len(bank.effects(id, "end")) == 2, "both runs came to their end")
    assert bank.words(id) == [word]
    assert (bank.runs(id), bank.runs(link.id)) == (2, 1)
    assert bank.outcomes(id) == ["lost", "succeeded"]
    assert bank.row(id)["worker_id"].startswith("other@test#")
    assert bank.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"


def test_the_commit_of_a_zombie_is_refused_and_leaves_nothing(served_bank: Bank) -> None:
    bank = served_bank
    id, link, frozen = freeze_in_the_middle(bank, "write-fence a")
    bank.worker("other", concurrency=1, lease_ttl_s=1)
    until(lambda: len(bank.effects(id, "wrote")) == 2, "another has come as far")
    bank.make("open")
    bank.wait(id, "succeeded")
    frozen.thaw()
    frozen.says("was refused: its lease was lost")
    ends_once(bank, id, link, "a-2")


def test_who_waits_for_the_locks_of_a_zombie_goes_on_when_it_wakes(served_bank: Bank) -> None:
    bank = served_bank
    id, link, frozen = freeze_in_the_middle(bank, "write a", "send child")
    bank.worker("other", concurrency=1, lease_ttl_s=1)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO deed%'"
    if bank.is_mysql:
        waiting = (
            "SELECT count(*) FROM information_schema.processlist"
            " WHERE db = DATABASE() AND info LIKE 'INSERT INTO deed%'"
            " AND /*M! time_ms > 100 *//*!80000 time >= 1 */"
        )
    until(lambda: bank.ledger.query(waiting) == [(1,)], "the other waits for what the zombie wrote")
    assert len(bank.effects(id, "wrote")) == 1
    bank.make("open")
    frozen.thaw()
    frozen.says("was refused: its lease was lost")
    ends_once(bank, id, link, "a")
    bank.wait("child", "succeeded")
    assert bank.runs("child") == 1


def test_on_sqlite_nobody_can_take_its_task_from_who_holds_the_file(open_bank: Open, sqlite_url: str) -> None:
    bank = open_bank(sqlite_url, "plain")
    bank.worker("other", concurrency=1, lease_ttl_s=1)
    waiting = bank.send("hold", "open")  # keeps the other one busy until the lease is over
    bank.begun(waiting)
    id, link, frozen = freeze_in_the_middle(bank, "write-fence a")
    late = "SELECT count(*) FROM mirepoix_worker WHERE alive_until < strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 seconds')"
    until(lambda: bank.ledger.query(late) != [(0,)], "the leases have run out")
    bank.make("open")
    frozen.thaw()
    bank.wait([id, link.id, waiting], "succeeded")
    assert (bank.words(id), bank.runs(id)) == (["a-1"], 1)
