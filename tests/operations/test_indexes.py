"""Indexes of a migration are built before it on PostgreSQL, while others write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from driver import Ledger
from mirepoix.connect.source import Source
from mirepoix.connect.url import source_for
from mirepoix.ledger.migrate import migrate
from mirepoix.operations.indexes import build_ahead

NAME = "mirepoix_task_returned"
VALID = f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{NAME}')"


@pytest.fixture
def older(postgresql_url: str) -> Iterator[Ledger]:
    """A ledger of the release before the index."""
    with Ledger(source_for(postgresql_url)) as ledger:
        ledger.write("DELETE FROM mirepoix_migration WHERE name = '0018_returned'")
        ledger.write(f"DROP INDEX {NAME}")
        yield ledger


def _once(act: Callable[[], None]) -> None:
    act()


def build_and_migrate(source: Source) -> list[str]:
    connection = source.open()
    try:
        return [*build_ahead(connection, _once), *migrate(connection)]
    finally:
        connection.close()


def test_the_index_is_built_and_the_migration_finds_it(older: Ledger):
    assert build_and_migrate(older.source) == [NAME, "0018_returned"]
    assert older.query(VALID) == [(True,)]
    assert build_and_migrate(older.source) == []


def test_what_an_interrupted_build_left_is_built_again(older: Ledger):
    older.write(f"CREATE INDEX {NAME} ON mirepoix_task (seq)")
    older.write(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('{NAME}')")
    assert build_and_migrate(older.source) == [NAME, "0018_returned"]
    assert older.query(VALID) == [(True,)]
    assert "fence > 0" in older.query(f"SELECT pg_get_indexdef(to_regclass('{NAME}'))")[0][0]


def test_several_processes_build_it_at_once(older: Ledger):
    done: list[list[str]] = []
    threads = [threading.Thread(target=lambda: done.append(build_and_migrate(older.source))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert sum("0018_returned" in names for names in done) == 1
    assert older.query(VALID) == [(True,)]


def test_a_database_without_a_ledger_or_of_another_kind_is_left_alone(empty_url: str):
    source = source_for(empty_url)
    connection = source.open()
    assert build_ahead(connection, _once) == []
    migrate(connection)
    assert build_ahead(connection, _once) == []
    connection.close()
    source.close()
