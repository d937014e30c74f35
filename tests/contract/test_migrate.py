"""Migrations: each is applied once, whoever runs them, however often."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator

import pytest

from driver import Ledger, rolled_back
from mirepoix.connect.caller import missing_table
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.url import source_for
from mirepoix.errors import SchemaError
from mirepoix.ledger import migrate
from mirepoix.sql import DIALECTS, migrations
from pace import DEADLINE_S


@pytest.fixture
def empty(empty_url: str) -> Iterator[Source]:
    """A database without a table."""
    source = source_for(empty_url)
    yield source
    source.close()


@pytest.fixture
def own(empty: Source) -> Iterator[OwnConnection]:
    """A connection to it."""
    connection = empty.open()
    yield connection
    connection.close()


def test_a_fresh_database_gets_every_migration_once(empty: Source, own: OwnConnection):
    names = [name for name, _ in migrations(empty.dialect)]
    assert migrate.migrate(own) == names
    assert migrate.migrate(own) == []
    with own.transaction() as tx:
        assert migrate.pending(tx) == []
    with Ledger(empty) as ledger:
        assert ledger.send("t") == {"t"}


def test_all_databases_have_the_same_migrations():
    names = {dialect: [name for name, _ in migrations(dialect)] for dialect in DIALECTS}
    assert names["postgresql"] == names["sqlite"] == names["mysql"]


def test_migrating_again_keeps_what_is_there(ledger: Ledger):
    ledger.send("t")
    assert migrate.migrate(ledger.connection) == []
    assert ledger.states() == {"t": "pending"}


def test_two_processes_that_migrate_at_once_both_succeed(empty_url: str):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_migrate, args=(empty_url, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0, 0]
    applied = [answers.get(timeout=DEADLINE_S) for _ in processes]
    expected = [name for name, _ in migrations("sqlite")]
    assert sorted(applied[0] + applied[1]) == expected


def test_a_migration_that_was_cut_short_is_repeated_whole(empty: Source, own: OwnConnection):
    names = [name for name, _ in migrations(empty.dialect)]
    with rolled_back(own) as tx:
        for _, script in migrations(empty.dialect):
            tx.script(script)
    assert migrate.migrate(own) == names


def test_on_mariadb_a_script_may_find_that_some_of_it_is_there(mariadb_url: str):
    script = """
    CREATE TABLE mirepoix_more (id int PRIMARY KEY);
    ALTER TABLE mirepoix_more ADD COLUMN since datetime(6), ADD KEY mirepoix_more_since (since);
    CREATE INDEX mirepoix_more_both ON mirepoix_more (since, id);
    """
    with Ledger(source_for(mariadb_url)) as ledger:
        ledger.write("CREATE TABLE mirepoix_more (id int PRIMARY KEY)")
        for _ in range(2):
            ledger.write(script)
        assert ledger.columns("mirepoix_more") == ["id", "since"]


def test_missing_tables_and_missing_migrations_are_named_with_the_remedy(empty: Source, own: OwnConnection):
    def is_missing(error: Exception) -> bool:
        return missing_table(error) is not None

    with pytest.raises(SchemaError, match="migrate"):
        migrate.require_current(own, empty.label, is_missing)
    migrate.migrate(own)
    migrate.require_current(own, empty.label, is_missing)
    with own.transaction() as tx:
        tx.script("DELETE FROM mirepoix_migration WHERE name LIKE '0001%'")
    with pytest.raises(SchemaError, match="0001_initial"):
        migrate.require_current(own, empty.label, is_missing)


def test_an_sqlite_file_in_the_old_journal_mode_is_opened_by_several_at_once(tmp_path):
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE somebody_elses (x)")
    old.close()
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_migrate, args=(f"sqlite:///{path}", barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0, 0]


def _migrate(url: str, barrier, answers) -> None:
    source = source_for(url)
    barrier.wait(timeout=DEADLINE_S)
    connection = source.open()
    answers.put(migrate.migrate(connection))
    connection.close()
    answers.close()
    answers.join_thread()
    os._exit(0)
