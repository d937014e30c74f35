"""A `Tx` over the caller's transaction: the same statements, and a clear error if the ledger's tables are missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mirepoix.connect import mysql_codes
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.errors import SchemaError
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

_MISSING_SQLSTATES = frozenset({"42P01", "42703", "3F000"})
"""undefined_table, undefined_column and invalid_schema_name."""

_MISSING_WORDS = ("no such table: ", "no such column: ", " has no column named ")
"""SQLite has one error class for everything, so its words decide."""


class CallerTx:
    """Runs statements on *tx*. If the ledger's tables are missing, the error names the database.

    On PostgreSQL such an error aborts the caller's transaction, as any error does. It can then only be rolled back.
    """

    __slots__ = ("_tx", "_where", "dialect")

    def __init__(self, tx: Tx, where: Callable[[], str]) -> None:
        self._tx = tx
        self._where = where
        self.dialect = tx.dialect

    def run(self, statement: str, /, **params: Any) -> int:
        with explained(self._where):
            return self._tx.run(statement, **params)

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        with explained(self._where):
            return self._tx.fetch(statement, **params)

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        with explained(self._where):
            return self._tx.query(sql, **params)

    def script(self, sql: str, /) -> None:
        with explained(self._where):
            self._tx.script(sql)


def sqlite3_tx(connection: sqlite3.Connection) -> Tx:
    """Return a `Tx` over the caller's sqlite3 connection, in its open transaction or the one that the driver begins.

    It does not use or change the connection's row and text factories. With ``isolation_level=None`` and no BEGIN there
    is no transaction, and every task is committed when it is sent, like everything else on that connection.
    """

    def cursor() -> sqlite3.Cursor:
        made = connection.cursor()
        made.row_factory = None if connection.text_factory is str else _row_of_text
        return made

    def where() -> str:
        file = cursor().execute("PRAGMA database_list").fetchall()[0][2]
        return f"sqlite:///{file or ':memory:'}"

    return CallerTx(DbapiTx(cursor, "sqlite", "named"), where)


@contextmanager
def explained(where: Callable[[], str]) -> Iterator[None]:
    """Turn a driver's error about a missing table or column into SchemaError, with the database and the remedy."""
    try:
        yield
    except Exception as error:  # each driver has its own class, and no driver is imported here
        reason = missing_table(error)
        if reason is None:
            raise
        raise SchemaError(
            f"The ledger's tables are missing or outdated in {where()}, the database of this transaction ({reason}). "
            "If the ledger belongs there, run: mirepoix --app YOUR_APP migrate. If it is in another database, send the "
            "task outside this transaction."
        ) from error


def missing_table(error: BaseException | None) -> str | None:
    """Return what the driver says is missing, or None if *error*, and the error it wraps, are about something else."""
    while error is not None:
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        words = str(error).partition("\n")[0]
        if code in _MISSING_SQLSTATES:
            return words
        if mysql_codes.of(error) in mysql_codes.MISSING:
            return words
        if isinstance(error, sqlite3.OperationalError) and any(part in words for part in _MISSING_WORDS):
            return words
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _row_of_text(_cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.decode() if isinstance(value, bytes) else value for value in row)
