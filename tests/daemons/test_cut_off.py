"""A worker that is cut off from its ledger for a while, or kept waiting by it, goes on by itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cable import Cable
from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect import psycopg, pymysql
from mirepoix.connect.url import source_for
from mirepoix.daemons import incarnation
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.records import Worker
from pace import until
from servers import Served

BOUND_S = 1.0


@pytest.fixture(autouse=True)
def short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain shall notice soon."""
    monkeypatch.setattr(incarnation, "SHORTEST_BOUND_S", BOUND_S)
    for connector in (psycopg, pymysql):
        monkeypatch.setattr(connector, "ANSWER_S", 0.0)


@contextmanager
def kept(url: str, **settings: float) -> Iterator[Leases]:
    """A worker without a pool: it takes nothing, and does everything else."""
    source = source_for(url)
    leases = Leases(source, Settings(**settings), Worker("", "w1", "here", os.getpid(), queues=("celery",)))
    leases.incarnation.register()
    maintenance = Maintenance(leases)
    maintenance.start()
    try:
        yield leases
    finally:
        maintenance.stop()
        leases.close()
        source.close()


def test_after_a_cut_that_nobody_was_told_of_maintenance_goes_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """The server keeps the old session, and with it the worker's lock, for hours."""
    with Cable(served.url) as cable, Ledger(source_for(served.url)) as ledger:
        with kept(cable.url, lease_ttl_s=3.0) as worker:
            before = a_heartbeat_after(ledger, None)
            comes_due(ledger, "before")
            old = worker.incarnation.liveness.session
            cable.cut()
            until(lambda: "cannot reach the ledger" in caplog.text, "the worker has noticed")
            cable.mend()
            a_heartbeat_after(ledger, before)
            comes_due(ledger, "after")
            until(lambda: worker.incarnation.liveness.session != old, "another session holds the lock")
            assert worker.incarnation.liveness.is_held()
            assert ledger.query("SELECT id, state FROM mirepoix_worker") == [(worker.worker.id, "alive")]
        ledger.source.close()


def test_a_table_that_is_locked_keeps_maintenance_waiting_and_no_heartbeat(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with kept(served.url, lease_ttl_s=1.0) as worker, Ledger(source_for(served.url)) as ledger:
        locked, unlock = locking(ledger)
        try:
            locked()
            until(lambda: 0.5 < maintenance_age_s(ledger) < 3600, "a heartbeat tells that maintenance waits")
            until(lambda: "has not completed a round for" in caplog.text, "the log tells it too")
        finally:
            unlock()
        until(lambda: maintenance_age_s(ledger) < 0.5, "maintenance has come round")
        assert ledger.query("SELECT id, state FROM mirepoix_worker") == [(worker.worker.id, "alive")]
        ledger.source.close()


def test_whoever_hears_nothing_on_a_bounded_connection_gives_it_up(served: Served) -> None:
    with Cable(served.url) as cable:
        source = source_for(cable.url)
        connection = source.open(0.5)
        cable.cut()
        with pytest.raises(source.disconnects), connection.transaction() as tx:
            tx.query("SELECT 1")
        connection.close()


def test_a_statement_that_takes_longer_than_its_bound_is_ended_by_the_server(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for connector in (psycopg, pymysql):
        monkeypatch.setattr(connector, "ANSWER_S", 600.0)
    source = source_for(served.url)
    connection = source.open(0.5)
    sleep = "pg_sleep" if source.dialect == "postgresql" else "SLEEP"
    with pytest.raises(source.disconnects), connection.transaction() as tx:
        tx.query(f"SELECT {sleep}(600)")
    with connection.transaction() as tx:  # the session is whole
        assert tx.query("SELECT 1") == [(1,)]
    connection.close()


def test_whoever_aborts_a_connection_ends_what_waits_on_it(served: Served) -> None:
    source = source_for(served.url)
    connection = source.open(600.0)
    with pytest.raises(source.disconnects), connection.transaction() as tx:  # noqa: PT012 (it is ended amid)
        connection.abort()
        tx.query("SELECT 1")
    connection.close()


def test_a_session_of_a_worker_may_be_idle_for_as_long_as_there_is_nothing_to_do(postgresql_url: str) -> None:
    source = source_for(postgresql_url)
    with Ledger(source) as ledger:
        database = ledger.query("SELECT current_database()")[0][0]
        ledger.write(f"ALTER DATABASE {database} SET idle_session_timeout = '300ms'")
    lock = source.hold_liveness("w1", 1)
    with lock.statements() as tx:
        assert tx.query("SELECT current_setting('idle_session_timeout')") == [("0",)]
    lock.close()


def a_heartbeat_after(ledger: Ledger, before: object) -> object:
    """Wait until another heartbeat than that has come; return it."""
    seen = lambda: ledger.query("SELECT heartbeat_at FROM mirepoix_worker WHERE maintained_at IS NOT NULL")  # noqa: E731
    until(lambda: seen() not in ([], before), "a heartbeat has come")
    return seen()


def comes_due(ledger: Ledger, id: str) -> None:
    """Send a task that is due, and wait until the worker's maintenance has released it."""
    ledger.send(id)
    ledger.write(f"UPDATE mirepoix_task SET due_at = created_at WHERE id = '{id}'")
    until(lambda: ledger.row(id)["due_at"] is None, "what is due is released")


def locking(ledger: Ledger) -> tuple[Callable[[], None], Callable[[], None]]:
    """What locks the table of tasks, as a migration or a backup does, and what unlocks it."""
    session = ledger.source.open().raw
    if ledger.source.dialect == "mysql":
        run = lambda sql: session.cursor().execute(sql)  # noqa: E731
        return lambda: run("LOCK TABLES mirepoix_task WRITE"), session.close
    session.autocommit = False
    return lambda: session.execute("LOCK TABLE mirepoix_task"), session.close


def maintenance_age_s(ledger: Ledger) -> float:
    """How old maintenance was with the latest heartbeat."""
    rows = ledger.query("SELECT heartbeat_at, maintained_at FROM mirepoix_worker WHERE maintained_at IS NOT NULL")
    return float("inf") if not rows else (rows[0][0] - rows[0][1]).total_seconds()
