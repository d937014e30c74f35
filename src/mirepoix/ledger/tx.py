"""What the ledger needs of a database: a transaction that runs named statements, and a source of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from mirepoix.sql.columns import Row


class Tx(Protocol):
    """One open transaction of somebody: the ledger's own or the caller's. It is never committed through here."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    def run(self, statement: str, /, **params: Any) -> int:
        """Run the statement of that name and return how many rows it changed."""

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        """Run the statement of that name and return its rows, to be read by the names of their columns."""

    def script(self, sql: str, /) -> None:
        """Run SQL as it stands, without parameters (migrations and one-off reads)."""

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        """Run SQL that is built by the ledger itself (reads with optional filters), values bound as ``:name``."""


class Connection(Protocol):
    """A connection of our own, used by one thread at a time."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """Begin; commit on leaving, roll back on an exception."""

    def close(self) -> None:
        """Give the connection up. Never raises."""
