"""Run the ledger's statements on a DB-API cursor of Mirepoix or of the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirepoix.connect import mysql_codes
from mirepoix.connect.perform import Answer, perform
from mirepoix.sql import placeholders, spell, steps
from mirepoix.sql.columns import Row, columns, row_class


class DbapiTx:
    """A `Tx` over cursors of one connection. It never begins, commits or rolls back."""

    __slots__ = ("_cursor", "_paramstyle", "dialect")

    def __init__(self, cursor: Callable[[], Any], dialect: str, paramstyle: str) -> None:
        self._cursor = cursor
        self._paramstyle = paramstyle
        self.dialect = dialect

    def run(self, statement_name: str, /, **params: Any) -> int:
        """Run a statement, and return the number of changed rows."""
        return self._perform(statement_name, params).rowcount

    def fetch(self, statement_name: str, /, **params: Any) -> list[Row]:
        """Run a statement, and return its rows."""
        return self._perform(statement_name, params).rows

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        """Run SQL with ``:name`` placeholders that the ledger built, and return its rows."""
        rows = self._execute(placeholders(spell(sql, self.dialect), self._paramstyle), params)[1]
        return row_class(columns(sql)).all(rows or ())

    def script(self, sql: str, /) -> None:
        """Run the statements of a script one by one, in this transaction.

        MySQL commits DDL at once. If a script was interrupted and runs again, a statement may find its work already
        done.
        """
        cursor = self._cursor()
        try:
            for statement in spell(sql, self.dialect).split(";\n"):
                if statement.strip():
                    self._make(cursor, statement)
        finally:
            cursor.close()

    def _make(self, cursor: Any, sql: str) -> None:
        try:
            cursor.execute(sql)
        except Exception as error:  # each driver has its own class, and no driver is imported here
            if self.dialect != "mysql" or mysql_codes.of(error) not in mysql_codes.MADE_ALREADY:
                raise

    def _perform(self, statement_name: str, params: dict[str, Any]) -> Answer:
        return perform(steps(statement_name, self.dialect, self._paramstyle), self._execute, params)

    def _execute(self, sql: str, params: dict[str, Any]) -> tuple[int, list[tuple[Any, ...]] | None]:
        cursor = self._cursor()
        try:
            cursor.execute(sql, params)
            rows = None if cursor.description is None else list(cursor.fetchall())
            return int(cursor.rowcount), rows
        finally:
            cursor.close()
