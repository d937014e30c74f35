"""The databases every ledger test runs on: a fresh, migrated ledger each."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import _state
from kombu.transport import TRANSPORT_ALIASES

from brokers import RabbitServer, RedisServer, started
from driver import Ledger, migrate_ledger
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.url import source_for
from servers import MariadbServer, PostgresServer, Served, end_sessions, mariadb, require_postgres, run_mariadb

TEMPLATE = "mirepoix_template"
DATABASES = ("sqlite", "postgresql", "mariadb")
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery gives an app's tasks to all others of the process, those of later tests, too."""
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the tests' own, with one migrated database to copy. A test that kills it need not revive it."""
    server = PostgresServer(require_postgres())
    try:
        server.start()
        _run(server, f"CREATE DATABASE {TEMPLATE}")
        migrate_ledger(server.url(TEMPLATE))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A MariaDB of the tests' own. A test that kills it need not revive it."""
    server = mariadb()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A RabbitMQ that several tests share; a test that kills it starts it again."""
    yield from started(RabbitServer, "rabbitmq")


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis that keeps nothing on disk."""
    yield from started(RedisServer, "redis")


@pytest.fixture
def estimating(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a broker, in this process, that only estimates how many messages wait."""
    monkeypatch.setitem(TRANSPORT_ALIASES, "estimating", "estimating:Transport")
    return "estimating://"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    migrate_ledger(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """A fresh migrated ledger in PostgreSQL."""
    yield from _database(postgresql_server, f" TEMPLATE {TEMPLATE}")


@pytest.fixture
def mariadb_url(mariadb_server: MariadbServer) -> Iterator[str]:
    """A fresh migrated ledger in MariaDB."""
    for url in _mariadb_database(mariadb_server):
        migrate_ledger(url)
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated ledger in an SQLite file."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=DATABASES)
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated ledger, once for each database."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest) -> Served:
    """A fresh migrated ledger and its server, once for each that is one."""
    kind = request.param
    return Served(request.getfixturevalue(f"{kind}_server"), request.getfixturevalue(f"{kind}_url"))


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    elif request.param == "mariadb":
        yield from _mariadb_database(request.getfixturevalue("mariadb_server"))
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


def _mariadb_database(server: MariadbServer) -> Iterator[str]:
    server.start()
    name = f"ledger_{next(_numbers)}"
    run_mariadb(server, f"CREATE DATABASE {name}")
    yield server.url(name)
    server.start()
    end_sessions(server, name)  # who begins anew in it just then would wait for its end, and its end for them
    run_mariadb(server, f"DROP DATABASE {name}")


def _run(server: PostgresServer, sql: str) -> None:
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql)
