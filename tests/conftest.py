"""The databases every ledger test runs on: a fresh, migrated ledger each."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Ledger
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.url import source_for
from mirepoix.ledger.migrate import migrate
from servers import PostgresServer, require_postgres

TEMPLATE = "mirepoix_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the tests' own, with one migrated database to copy. A test that kills it need not revive it."""
    server = PostgresServer(require_postgres())
    try:
        server.start()
        _run(server, f"CREATE DATABASE {TEMPLATE}")
        _migrate(server.url(TEMPLATE))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """A fresh migrated ledger in PostgreSQL."""
    yield from _database(postgresql_server, f" TEMPLATE {TEMPLATE}")


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated ledger in an SQLite file."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated ledger, once for each database."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        yield from _database(request.getfixturevalue("postgresql_server"), "")


@pytest.fixture
def source(ledger_url: str) -> Iterator[Source]:
    """The ledger's database."""
    source = source_for(ledger_url)
    yield source
    source.close()


@pytest.fixture
def connection(source: Source) -> Iterator[OwnConnection]:
    """One connection to the ledger; ``with connection.transaction() as tx:`` begins and commits."""
    connection = source.open()
    yield connection
    connection.close()


@pytest.fixture
def ledger(source: Source) -> Iterator[Ledger]:
    """The ledger driven step by step, each step a committed transaction of its own."""
    with Ledger(source) as ledger:
        yield ledger


def _database(server: PostgresServer, options: str) -> Iterator[str]:
    server.start()
    name = f"ledger_{next(_numbers)}"
    _run(server, f"CREATE DATABASE {name}{options}")
    yield server.url(name)
    server.start()
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(server: PostgresServer, sql: str) -> None:
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql)


def _migrate(url: str) -> None:
    source = source_for(url)
    connection = source.open()
    migrate(connection)
    connection.close()
    source.close()
