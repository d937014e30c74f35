"""SQLite through the module of the standard library: statements that write, and commits.

The hook sees connections that a task opens by ``sqlite3.connect()``. It does not see a connection that was open before.
A connection that is opened by a name imported before (``from sqlite3 import connect``) is reported as unmodelled.
Django and SQLAlchemy have their own hooks.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

from mirepoix.crashtest import sql as statements
from mirepoix.crashtest.databases.sqlite3 import SqliteFiles, file_of
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.places import comes_through, user_line
from mirepoix.crashtest.points import Delivery, Died, current, is_within, within

_FRAMEWORKS = ("/django/db/", "/sqlalchemy/")
_FACTORY, _URI = 4, 6
"""The positions of these arguments of connect(), if they are not given by name."""


def install(stack: ExitStack, files: SqliteFiles) -> None:
    """Install the fault points until *stack* is closed. Files that are written to are reported to *files*."""
    stack.callback(files.forget)
    for module in (sqlite3, sqlite3.dbapi2):
        replace(stack, module, "connect", partial(_connecting, files))


def _connecting(files: SqliteFiles, original: Any) -> Any:
    def connect(database: Any, *args: Any, **options: Any) -> Any:
        delivery = current()
        is_uri = args[_URI] if len(args) > _URI else options.get("uri", False)
        path = file_of(database, is_uri=is_uri)
        if delivery is None or is_within() or path is None or comes_through(*_FRAMEWORKS):
            return original(database, *args, **options)
        given = list(args)
        if len(given) > _FACTORY:
            given[_FACTORY] = _watched(given[_FACTORY])
        else:
            options["factory"] = _watched(options.get("factory", sqlite3.Connection))
        files.keep(path)
        with within():
            opened = original(database, *given, **options)
        opened.crashtest = _Link(opened, files, path)
        files.seen.add(opened)
        return opened

    return connect


class _Link:
    """The state of one connection."""

    def __init__(self, connection: Any, files: SqliteFiles, path: str) -> None:
        self._connection = weakref.proxy(connection)
        self._files = files
        self._path = path
        self.has_written = False

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Surround a commit."""
        delivery = _writer()
        if delivery is None:
            yield
        elif self.has_written:
            with delivery.point("commit", "COMMIT", is_durable=True, undo=self._connection.rollback):
                yield
                self.has_written = False
                delivery.is_committed = True
        else:
            _alive(delivery)
            yield

    @contextmanager
    def statement(self, sql: str) -> Iterator[None]:
        """Surround a statement."""
        delivery = _writer()
        if delivery is None:
            yield
            return
        if statements.is_commit(sql):
            with self.commit():
                yield
            return
        table = statements.written_table(sql)
        if table is None:
            _alive(delivery)
            yield
            return
        self._tell(delivery, table)
        is_alone = self._commits_alone(table)
        with delivery.point("sql", statements.label(sql), is_durable=is_alone):
            yield
            if is_alone:
                delivery.is_committed = True
            else:
                self.has_written = True

    @contextmanager
    def script(self, sql: str) -> Iterator[None]:
        """Surround a script, which is one point. It commits the transaction that was open before."""
        delivery = _writer()
        if delivery is None:
            yield
            return
        for part in sql.split(";"):
            if (table := statements.written_table(part)) is not None:
                self._tell(delivery, table)
        with delivery.point("sql", "executescript", is_durable=True):
            yield
            self.has_written = False
            delivery.is_committed = True

    def _tell(self, delivery: Delivery, table: str) -> None:
        if table == statements.SCHEMA:
            delivery.unmodelled.add(f"a change of the schema by sqlite3 at {user_line(delivery.home)}")
        else:
            delivery.tables.add(f"{self._files.alias(self._path)}.{table}")

    def _commits_alone(self, table: str) -> bool:
        """Whether a write is its own transaction: Python 3.12's autocommit, or isolation_level=None."""
        if self._connection.in_transaction:
            return False
        autocommit = getattr(self._connection, "autocommit", None)
        if isinstance(autocommit, bool):
            return autocommit
        return self._connection.isolation_level is None or table == statements.SCHEMA


def _writer() -> Delivery | None:
    return None if is_within() else current()


def _alive(delivery: Delivery) -> None:
    if delivery.is_dead:
        raise Died


_UNLINKED = nullcontext()


@cache
def _watched(base: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    """Return a subclass of *base* with points at its statements and commits."""

    class Watched(base):  # type: ignore[valid-type, misc]
        crashtest: _Link | None = None

        def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
            return super().cursor(_watched_cursor(factory) if isinstance(factory, type) else factory)

        def execute(self, sql: str, *args: Any) -> Any:
            return self.cursor().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> Any:
            return self.cursor().executemany(sql, *args)

        def executescript(self, sql: str) -> Any:
            return self.cursor().executescript(sql)

        def commit(self) -> None:
            with _UNLINKED if self.crashtest is None else self.crashtest.commit():
                super().commit()

        def rollback(self) -> None:
            if self.crashtest is not None:
                self.crashtest.has_written = False
            super().rollback()

        def __exit__(self, *error: object) -> Any:
            if self.crashtest is None or error[0] is not None:
                return super().__exit__(*error)
            with self.crashtest.commit():
                return super().__exit__(*error)

    return Watched


@cache
def _watched_cursor(base: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
    class Watched(base):  # type: ignore[valid-type, misc]
        def execute(self, sql: str, *args: Any) -> Any:
            with self.connection.crashtest.statement(sql):
                return super().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> Any:
            with self.connection.crashtest.statement(sql):
                return super().executemany(sql, *args)

        def executescript(self, sql: str) -> Any:
            with self.connection.crashtest.script(sql):
                return super().executescript(sql)

    return Watched
