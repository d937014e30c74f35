"""Run the ledger's statements on a DB-API cursor: ours, or one from the caller's own connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirepoix.sql import placeholders, spell, statement


class DbapiTx:
    """A `Tx` over cursors of one connection. It never begins, commits or rolls back."""

    __slots__ = ("_cursor", "_paramstyle", "dialect")

    def __init__(self, cursor: Callable[[], Any], dialect: str, paramstyle: str) -> None:
        self._cursor = cursor
        self._paramstyle = paramstyle
        self.dialect = dialect

    def run(self, statement_name: str, /, **params: Any) -> int:
        """Run a statement; return how many rows it changed."""
        cursor = self._cursor()
        try:
            cursor.execute(statement(statement_name, self.dialect, self._paramstyle), params)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def fetch(self, statement_name: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        return self._fetch(statement(statement_name, self.dialect, self._paramstyle), params)

    def query(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """Run SQL with ``:name`` placeholders that the ledger built; return its rows."""
        return self._fetch(placeholders(spell(sql, self.dialect), self._paramstyle), params)

    def script(self, sql: str, /) -> None:
        """Run the statements of a script one by one, in this transaction."""
        cursor = self._cursor()
        try:
            for one in spell(sql, self.dialect).split(";\n"):
                if one.strip():
                    cursor.execute(one)
        finally:
            cursor.close()

    def _fetch(self, sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        cursor = self._cursor()
        try:
            cursor.execute(sql, params)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
        finally:
            cursor.close()
