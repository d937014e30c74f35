"""A process that is stopped amid a transaction of ours holds its locks for a while, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driver import Ledger
from mirepoix.connect import psycopg, pymysql
from mirepoix.connect.url import source_for
from mirepoix.ledger import take

WAIT = "SELECT id FROM mirepoix_task WHERE id = 't1' FOR UPDATE"
"""It waits for whoever has locked the row."""
SESSION = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL CONNECTION {}"}
SESSIONS = {
    "postgresql": "SELECT 1 FROM pg_stat_activity WHERE pid = :session",
    "mysql": "SELECT 1 FROM information_schema.processlist WHERE id = :session",
}
IS_ALONE = {"postgresql": "SELECT now() = statement_timestamp()", "mysql": "SELECT @@in_transaction = 0"}
"""Whether a statement that is not the first is a transaction by itself."""


@pytest.fixture(params=["postgresql", "mariadb"])
def ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger whose transactions may say nothing for a second."""
    monkeypatch.setattr(psycopg, "IDLE_S", 1)
    monkeypatch.setattr(pymysql, "IDLE_S", 1)
    source = source_for(request.getfixturevalue(f"{request.param}_url"))
    with Ledger(source) as ledger:
        if "MariaDB" not in ledger.query("SELECT version()")[0][0] and request.param == "mariadb":
            pytest.skip("MySQL knows no such bound")
        yield ledger
    source.close()


def test_what_a_stopped_process_was_about_to_take_is_taken_by_another(ledger: Ledger):
    ledger.worker("stopped")
    ledger.worker("other")
    ledger.send("t1")
    stopped = ledger.source.open()
    with pytest.raises(ledger.source.disconnects), stopped.transaction() as tx:  # noqa: PT012 (it is stopped amid)
        assert [taken.lease.task_id for taken in take.take(tx, "stopped", ["celery"], 1)] == ["t1"]
        assert ledger.do(take.take, "other", ["celery"], 1) == []
        assert ledger.query(WAIT) == [("t1",)]
        assert len(ledger.do(take.take, "other", ["celery"], 1)) == 1
        tx.query("SELECT 1")
    stopped.close()
    assert ledger.query("SELECT worker_id FROM mirepoix_task WHERE id = 't1'") == [("other",)]


def test_a_pooled_connection_that_was_ended_is_replaced(ledger: Ledger):
    ledger.send("t1")
    source = ledger.source
    with pytest.raises(source.disconnects), source.transaction() as tx:  # noqa: PT012 (it is stopped amid)
        assert tx.query(WAIT) == [("t1",)]
        assert ledger.query(WAIT) == [("t1",)]
        tx.query("SELECT 1")
    with source.transaction() as tx:
        assert tx.query("SELECT id FROM mirepoix_task") == [("t1",)]


def test_a_pooled_connection_that_was_ended_is_replaced_before_a_statement_is_sent_on_it(ledger: Ledger):
    with ledger.source.statement() as tx:
        ((session,),) = tx.query(SESSION[ledger.source.dialect])
    end = END[ledger.source.dialect].format(session)
    ledger.query(end) if ledger.source.dialect == "postgresql" else ledger.write(end)
    while ledger.query(SESSIONS[ledger.source.dialect], session=session):
        pass  # it ends in a moment
    with ledger.source.statement() as tx:
        assert tx.query(SESSION[ledger.source.dialect]) != [(session,)]


def test_a_statement_begins_a_transaction_only_where_it_must(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    for _ in range(2):
        with ledger.source.statement() as tx:
            tx.query("SELECT 1")
            assert tx.query(IS_ALONE[ledger.source.dialect]) == [(ledger.source.dialect == "postgresql",)]
    monkeypatch.setattr(psycopg, "FRESH_S", 0.0)
    with ledger.source.statement() as tx:
        tx.query("SELECT 1")
        assert tx.query(IS_ALONE[ledger.source.dialect]) == [(False,)]


def test_the_transaction_of_a_task_may_wait_for_what_the_task_waits_for(ledger: Ledger):
    if ledger.source.dialect == "postgresql":
        ask, never = "SELECT current_setting('idle_in_transaction_session_timeout')", "0"
    else:
        ask, never = "SELECT @@idle_transaction_timeout", 0
    begun = ledger.source.begin()
    assert begun.tx.query(ask) == [(never,)]
    begun.roll_back()
