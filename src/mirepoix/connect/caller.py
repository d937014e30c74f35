"""A `Tx` over somebody else's transaction: the same statements, and a clear error where the ledger is not there."""

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
"""undefined_table, undefined_column, invalid_schema_name."""

_MISSING_WORDS = ("no such table: ", "no such column: ", " has no column named ")
"""What SQLite says; it has one error class for everything."""


class CallerTx:
    """Runs statements on *tx*; if the ledger's tables are not in that database, says which database that is.

    On PostgreSQL such an error ends the caller's transaction, as any error does there: it can only be rolled back.
    """

    __slots__ = ("_tx", "_where", "dialect")

    def __init__(self, tx: Tx, where: Callable[[], str]) -> None:
        self._tx = tx
        self._where = where
        self.dialect = tx.dialect

    def run(self, statement: str, /, **params: Any) -> int:
        """Run the statement of that name and return how many rows it changed."""
        with explained(self._where):
            return self._tx.run(statement, **params)

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        """Run the statement of that name and return its rows."""
        with explained(self._where):
            return self._tx.fetch(statement, **params)

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        """Run SQL that the ledger built; return its rows."""
        with explained(self._where):
            return self._tx.query(sql, **params)

    def script(self, sql: str, /) -> None:
        """Run SQL as it stands."""
        with explained(self._where):
            self._tx.script(sql)


def sqlite3_tx(connection: sqlite3.Connection) -> Tx:
    """The transaction that is open, or will be opened, on the caller's sqlite3 connection.

    The connection's row and text factories are left alone and not used. With ``isolation_level=None`` and no BEGIN
    there is no transaction, and every task is committed as it is sent, like everything else on that connection.
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
    """Turn a driver's error about a missing table or column into SchemaError, naming the database and the remedy."""
    try:
        yield
    except Exception as error:  # every driver has its own class for it, and none is imported here
        reason = missing_table(error)
        if reason is None:
            raise
        raise SchemaError(
            f"The ledger's tables are not in {where()}, where this task was to be written, or are those of an older "
            f"version ({reason}). If the ledger belongs there, run: mirepoix --app YOUR_APP migrate; if it is in "
            "another database, send the task outside of this transaction."
        ) from error


def missing_table(error: BaseException | None) -> str | None:
    """What a driver says is missing; None if *error*, or what it wraps, is about something else."""
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
