"""Run the ledger's statements on a DB-API cursor: ours, or one from the caller's own connection."""

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
        """Run a statement; return how many rows it changed."""
        return self._perform(statement_name, params).rowcount

    def fetch(self, statement_name: str, /, **params: Any) -> list[Row]:
        """Run a statement; return its rows."""
        return self._perform(statement_name, params).rows

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        """Run SQL with ``:name`` placeholders that the ledger built; return its rows."""
        rows = self._execute(placeholders(spell(sql, self.dialect), self._paramstyle), params)[1]
        return row_class(columns(sql)).all(rows or ())

    def script(self, sql: str, /) -> None:
        """Run the statements of a script one by one, in this transaction.

        On MySQL, where what is made is committed at once, a statement may find that its work is done already.
        """
        cursor = self._cursor()
        try:
            for one in spell(sql, self.dialect).split(";\n"):
                if one.strip():
                    self._make(cursor, one)
        finally:
            cursor.close()

    def _make(self, cursor: Any, sql: str) -> None:
        try:
            cursor.execute(sql)
        except Exception as error:  # every driver has its own class for it, and none is imported here
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
