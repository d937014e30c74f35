"""How a transactional task begins, and does not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy import orm

import mirepoix
from driver import Ledger
from mirepoix.celery.context import Attempt
from mirepoix.celery.outcome import Refused
from mirepoix.celery.unit_of_work import UnitOfWork
from mirepoix.connect import sqlite3 as our_sqlite3
from mirepoix.connect.url import source_for
from mirepoix.records import Lease


def test_who_lost_its_lease_keeps_nobody_waiting_for_the_file(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(our_sqlite3, "BUSY_TIMEOUT_S", 0.2)
    engine = sa.create_engine(sqlite_url)

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    app = Celery("bank", set_as_current=False)
    installation = mirepoix.install(app, sqlite_url, session_factory=orm.sessionmaker(engine))
    with Ledger(source_for(sqlite_url)) as ledger:
        ledger.send("a")
        lost = Lease("a", 7, "zombie")
        with pytest.raises(Refused):
            UnitOfWork(installation, Attempt(lost, "bank.work", installation=installation))
        assert "task bank.work[a] does not begin: its lease was lost" in caplog.messages
        ledger.send("b")
    installation.source.close()
    app.close()
    engine.dispose()
