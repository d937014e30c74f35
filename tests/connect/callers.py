"""What callers hold when they send tasks: one small adapter for each kind of connection, all with the same verbs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from celery import Celery
from psycopg.rows import dict_row
from pymysql.cursors import DictCursor
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio

import mirepoix
from driver import Ledger
from mirepoix.connect.url import source_for

INSERT = "INSERT INTO mine (word) VALUES ('{}')"


class Caller:
    """One connection of the caller's. *held* is what is handed to ``mirepoix.using``."""

    def __init__(self, held: Any, execute: Callable[[str], Any], begin: str | None = None) -> None:
        self.held = held
        self._execute = execute
        self._begin = begin

    def begin(self) -> None:
        if self._begin:
            self._execute(self._begin)

    def insert(self, word: str) -> None:
        self._execute(INSERT.format(word))

    def commit(self) -> None:
        self.held.commit()

    def rollback(self) -> None:
        self.held.rollback()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._execute("SAVEPOINT inner_one")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK TO SAVEPOINT inner_one")
            raise
        self._execute("RELEASE SAVEPOINT inner_one")


class AlchemyCaller(Caller):
    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.held.begin_nested():
            yield


class PsycopgCaller(Caller):
    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.held.transaction():
            yield


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _driver(url: str, driver: str) -> str:
    return url.replace("://", f"+{driver}://", 1)


@contextmanager
def sqlite3_legacy(url: str) -> Iterator[Caller]:
    """Python's default: it begins by itself before an INSERT."""
    connection = sqlite3.connect(_path(url))
    connection.row_factory = sqlite3.Row
    yield Caller(connection, connection.execute)
    connection.close()


@contextmanager
def sqlite3_explicit(url: str) -> Iterator[Caller]:
    """``isolation_level=None``: the caller begins. Its factories would spoil our rows."""
    connection = sqlite3.connect(_path(url), isolation_level=None)
    connection.row_factory = lambda cursor, row: {c[0]: v for c, v in zip(cursor.description, row, strict=True)}
    connection.text_factory = bytes
    yield Caller(connection, connection.execute, "BEGIN")
    connection.close()


@contextmanager
def psycopg_plain(url: str) -> Iterator[Caller]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield PsycopgCaller(connection, connection.execute)
        connection.rollback()


@contextmanager
def psycopg_autocommit(url: str) -> Iterator[Caller]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield PsycopgCaller(connection, connection.execute, "BEGIN")


@contextmanager
def pymysql_plain(url: str) -> Iterator[Caller]:
    """Its default, REPEATABLE READ, without the flag that our own connections have; its rows would spoil ours."""
    connection = _pymysql(url)
    yield Caller(connection, lambda sql: connection.cursor().execute(sql))
    connection.close()


@contextmanager
def pymysql_autocommit(url: str) -> Iterator[Caller]:
    connection = _pymysql(url, autocommit=True)
    yield Caller(connection, lambda sql: connection.cursor().execute(sql), "BEGIN")
    connection.close()


def _pymysql(url: str, **more: Any) -> pymysql.Connection[Any]:
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        database=parts.path.strip("/"),
        charset="latin1",
        cursorclass=DictCursor,
        **more,
    )


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url)
    if url.startswith("sqlite"):
        _begin_as_told(engine)
    yield engine
    engine.dispose()


def _begin_as_told(engine: sa.Engine) -> None:
    # From SQLAlchemy's own pages: without it the sqlite3 module begins too late for savepoints.
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


@contextmanager
def _session(url: str) -> Iterator[Caller]:
    with _engine(url) as engine, orm.Session(engine) as session:
        yield AlchemyCaller(session, lambda sql: session.execute(sa.text(sql)))


@contextmanager
def session_sqlite(url: str) -> Iterator[Caller]:
    with _session(url) as caller:
        yield caller


@contextmanager
def session_psycopg(url: str) -> Iterator[Caller]:
    with _session(_driver(url, "psycopg")) as caller:
        yield caller


@contextmanager
def session_psycopg2(url: str) -> Iterator[Caller]:
    with _session(_driver(url, "psycopg2")) as caller:
        yield caller


@contextmanager
def scoped_session_psycopg(url: str) -> Iterator[Caller]:
    with _engine(_driver(url, "psycopg")) as engine:
        session = orm.scoped_session(orm.sessionmaker(engine))
        yield AlchemyCaller(session, lambda sql: session.execute(sa.text(sql)))
        session.remove()


@contextmanager
def session_pymysql(url: str) -> Iterator[Caller]:
    with _session(_driver(url, "pymysql")) as caller:
        yield caller


@contextmanager
def session_mariadb_dialect(url: str) -> Iterator[Caller]:
    if os.environ.get("MYSQLD"):
        pytest.skip("SQLAlchemy's mariadb:// refuses MySQL")
    with _session(url.replace("mysql://", "mariadb+pymysql://")) as caller:
        yield caller


@contextmanager
def connection_pymysql(url: str) -> Iterator[Caller]:
    with _engine(_driver(url, "pymysql")) as engine, engine.connect() as connection:
        yield AlchemyCaller(connection, lambda sql: connection.execute(sa.text(sql)))


@contextmanager
def connection_sqlite(url: str) -> Iterator[Caller]:
    with _engine(url) as engine, engine.connect() as connection:
        yield AlchemyCaller(connection, lambda sql: connection.execute(sa.text(sql)))


@contextmanager
def connection_psycopg2(url: str) -> Iterator[Caller]:
    with _engine(_driver(url, "psycopg2")) as engine, engine.connect() as connection:
        yield AlchemyCaller(connection, lambda sql: connection.execute(sa.text(sql)))


ON_SQLITE = [sqlite3_legacy, sqlite3_explicit, session_sqlite, connection_sqlite]
ON_POSTGRESQL = [
    psycopg_plain,
    psycopg_autocommit,
    session_psycopg,
    session_psycopg2,
    scoped_session_psycopg,
    connection_psycopg2,
]
ON_MARIADB = [pymysql_plain, pymysql_autocommit, session_pymysql, session_mariadb_dialect, connection_pymysql]


def url_of(kind: Any) -> str:
    """The fixture of the ledger that *kind* connects to."""
    if kind in ON_SQLITE or kind in ASYNC_ON_SQLITE:
        return "sqlite_url"
    return "mariadb_url" if kind in ON_MARIADB or kind in ASYNC_ON_MARIADB else "postgresql_url"


class AsyncCaller:
    """As `Caller`, with ``await``."""

    def __init__(self, held: Any) -> None:
        self.held = held

    async def insert(self, word: str) -> None:
        await self.held.execute(sa.text(INSERT.format(word)))

    async def commit(self) -> None:
        await self.held.commit()

    async def rollback(self) -> None:
        await self.held.rollback()

    def savepoint(self) -> Any:
        return self.held.begin_nested()


@asynccontextmanager
async def _async_engine(url: str) -> AsyncIterator[sa_asyncio.AsyncEngine]:
    engine = sa_asyncio.create_async_engine(url)
    if url.startswith("sqlite"):
        _begin_as_told(engine.sync_engine)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def _async_session(url: str) -> AsyncIterator[AsyncCaller]:
    async with _async_engine(url) as engine, sa_asyncio.AsyncSession(engine) as session:
        yield AsyncCaller(session)


@asynccontextmanager
async def _async_connection(url: str) -> AsyncIterator[AsyncCaller]:
    async with _async_engine(url) as engine, engine.connect() as connection:
        yield AsyncCaller(connection)


def _async(make: Any, driver: str) -> Any:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[AsyncCaller]:
        async with make(_driver(url, driver)) as caller:
            yield caller

    opened.__name__ = f"{make.__name__.strip('_')}_{driver}"
    return opened


async_session_aiosqlite = _async(_async_session, "aiosqlite")
async_session_asyncpg = _async(_async_session, "asyncpg")
async_session_psycopg = _async(_async_session, "psycopg")
async_session_aiomysql = _async(_async_session, "aiomysql")
async_connection_aiomysql = _async(_async_connection, "aiomysql")
async_connection_aiosqlite = _async(_async_connection, "aiosqlite")
async_connection_asyncpg = _async(_async_connection, "asyncpg")

ASYNC_ON_MARIADB = [async_session_aiomysql, async_connection_aiomysql]
ASYNC_ON_SQLITE = [async_session_aiosqlite, async_connection_aiosqlite]
ASYNC_ON_POSTGRESQL = [async_session_asyncpg, async_session_psycopg, async_connection_asyncpg]


def app_with(url: str) -> Any:
    """An app with the ledger at *url*. Nothing listens at its broker's address, so a test that connects to it fails."""
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    mirepoix.install(app, url, look_at_broker=False)
    return app


class EachCaller:
    """Fixtures of tests that send in their caller's transaction: one caller of each database, and a session."""

    @pytest.fixture(
        params=[sqlite3_explicit, psycopg_plain, pymysql_plain, session_psycopg], ids=lambda make: make.__name__
    )
    def kind(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def url(self, kind: Any, request: pytest.FixtureRequest) -> str:
        return request.getfixturevalue(url_of(kind))

    @pytest.fixture
    def books(self, url: str) -> Iterator[Ledger]:
        with Ledger(source_for(url)) as ledger:
            yield ledger

    @pytest.fixture
    def app(self, url: str) -> Iterator[Any]:
        app = app_with(url)
        yield app
        app.mirepoix.source.close()

    @pytest.fixture
    def caller(self, kind: Any, url: str, books: Ledger) -> Iterator[Caller]:
        with kind(url) as caller:
            yield caller
