"""PostgreSQL through psycopg 3, also asynchronously: statements that write, COPY, and commits.

Django and SQLAlchemy have their own points, and their calls of psycopg are part of these.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from importlib import import_module
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus

from mirepoix.crashtest import sql as statements
from mirepoix.crashtest.databases.psycopg import PsycopgTables
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import Delivery, Died, current, is_within


def install(stack: ExitStack, tables: PsycopgTables) -> None:
    """Install the fault points until *stack* is closed. Tables that are written to are reported to *tables*."""
    stack.callback(tables.disconnect)
    watched = _Watched(tables)
    for name in ("execute", "executemany"):
        replace(stack, psycopg.Cursor, name, watched.executing)
        replace(stack, psycopg.AsyncCursor, name, watched.executing_async)
    replace(stack, psycopg.Cursor, "copy", watched.copying)
    replace(stack, psycopg.AsyncCursor, "copy", watched.copying_async)
    # commit(), the end of transaction() and the end of a connection's block all call this, for both kinds of
    # connections.
    replace(stack, psycopg.Connection, "_exec_command", watched.commanding)
    replace(stack, psycopg.AsyncConnection, "_exec_command", watched.commanding)


class _Watched:
    def __init__(self, tables: PsycopgTables) -> None:
        self._tables = tables
        self._written: WeakSet[Any] = WeakSet()
        """The connections that wrote something in their open transaction."""

    def executing(self, original: Any) -> Any:
        def execute(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
            with self._query(cursor, query):
                return original(cursor, query, *args, **options)

        return execute

    def executing_async(self, original: Any) -> Any:
        async def execute(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
            with self._query(cursor, query):
                return await original(cursor, query, *args, **options)

        return execute

    def copying(self, original: Any) -> Any:
        @contextmanager
        def copy(cursor: Any, query: Any, *args: Any, **options: Any) -> Iterator[Any]:
            with self._query(cursor, query), original(cursor, query, *args, **options) as found:
                yield found

        return copy

    def copying_async(self, original: Any) -> Any:
        @asynccontextmanager
        async def copy(cursor: Any, query: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
            with self._query(cursor, query):
                async with original(cursor, query, *args, **options) as found:
                    yield found

        return copy

    def commanding(self, original: Any) -> Any:
        def command(connection: Any, sql: Any, *args: Any, **options: Any) -> Any:
            delivery = _writer(connection)
            if delivery is None or not (isinstance(sql, bytes) and statements.is_commit(sql.decode())):
                return (yield from original(connection, sql, *args, **options))
            with self._commit(delivery, connection):
                return (yield from original(connection, sql, *args, **options))

        return command

    @contextmanager
    def _query(self, cursor: Any, query: Any) -> Iterator[None]:
        """Surround a statement of a cursor."""
        delivery = _writer(cursor.connection)
        if delivery is None:
            yield
            return
        with self._statement(delivery, cursor.connection, _text(query, cursor)):
            yield

    @contextmanager
    def _statement(self, delivery: Delivery, connection: Any, sql: str) -> Iterator[None]:
        if statements.is_commit(sql):
            with self._commit(delivery, connection):
                yield
            return
        name = statements.written_name(sql)
        if name is None and statements.written_table(sql) is None:
            if delivery.is_dead:
                raise Died
            yield
            return
        is_alone = connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE
        self._tables.keep(connection, name, delivery)
        with delivery.point("sql", statements.label(sql), is_durable=is_alone):
            yield
            if is_alone:
                delivery.is_committed = True
            else:
                self._written.add(connection)

    @contextmanager
    def _commit(self, delivery: Delivery, connection: Any) -> Iterator[None]:
        if connection not in self._written:
            if delivery.is_dead:
                raise Died
            yield
            return
        with delivery.point("commit", "COMMIT", is_durable=True, undo=partial(_roll_back, connection)):
            yield
            self._written.discard(connection)
            delivery.is_committed = True


def _writer(connection: Any) -> Delivery | None:
    """Return the delivery that *connection* writes for. None inside another point, and for a framework's connection."""
    delivery = current()
    if delivery is None or is_within() or _is_of_django(connection):
        return None
    return delivery


def _is_of_django(connection: Any) -> bool:
    if "django.db" not in sys.modules or not import_module("django.conf").settings.configured:
        return False
    opened = import_module("django.db").connections.all(initialized_only=True)
    return any(django_connection.connection is connection for django_connection in opened)


def _roll_back(connection: Any) -> None:
    connection.pgconn.exec_(b"ROLLBACK")


def _text(query: Any, cursor: Any) -> str:
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    return query if isinstance(query, str) else str(query.as_string(cursor))
