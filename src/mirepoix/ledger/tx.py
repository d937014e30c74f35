"""What the ledger needs from a database: a transaction that runs named statements, and a source of transactions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from mirepoix.sql.columns import Row


class Tx(Protocol):
    """An open transaction, the ledger's own or the caller's. It has no commit: its owner commits it."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    def run(self, statement: str, /, **params: Any) -> int:
        """Run the statement of that name and return how many rows it changed."""

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        """Run the statement of that name and return its rows, to be read by the names of their columns."""

    def script(self, sql: str, /) -> None:
        """Run SQL without parameters and without changes (migrations and one-off reads)."""

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        """Run SQL that the ledger has built (reads with optional filters), with values bound as ``:name``."""


class Connection(Protocol):
    """A connection of Mirepoix's own, used by one thread at a time."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """Begin a transaction. It commits at the end of the block, or rolls back on an exception."""

    def close(self) -> None:
        """Close the connection. Never raises."""
