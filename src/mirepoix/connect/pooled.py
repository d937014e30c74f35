"""The common part of sources with only their own connections: two pools, and no framework."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from mirepoix.connect.pool import Pool
from mirepoix.ledger.tx import Tx


class PooledSource:
    """The half of a `Source` that does not depend on the database."""

    label: str
    _pool: Pool
    _begun: Pool
    """One connection for each running task. The thread that runs a task also needs a connection of the other pool, and
    must not wait for its own."""

    def __repr__(self) -> str:
        return f"<ledger {self.label}>"

    def name_sessions(self, name: str) -> None:
        """Do nothing: this database does not show names of sessions."""

    def transaction(self) -> AbstractContextManager[Tx]:
        return self._pool.transaction()

    def statement(self) -> AbstractContextManager[Tx]:
        """Open a transaction for one statement, on a pooled connection."""
        return self._pool.transaction()

    def reading(self) -> AbstractContextManager[Tx]:
        return self._pool.reading()

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """Open a transaction on a pooled connection, which never belongs to the caller."""
        return self._pool.transaction()

    def enclosing_transaction(self) -> Tx | None:
        """Return None, because there is no framework with a transaction."""
        return None

    def after_commit(self, act: Callable[[], Any]) -> bool:
        """Return False, because there is no framework that reports a commit."""
        return False

    def leave(self) -> None:
        """Do nothing: the connections are pooled."""

    def require_sessions(self) -> None:
        """Do nothing: no pooler is known to be in front of this database."""

    def close_unused(self) -> None:
        self._pool.close_unused()
        self._begun.close_unused()

    def close(self) -> None:
        self._pool.close()
        self._begun.close()
