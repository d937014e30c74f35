"""What the sources have in common whose connections are all their own: two pools, and no framework above them."""

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
    """One connection for each task that runs; whoever runs it needs one of the pool besides, and must not wait for its
    own."""

    def __repr__(self) -> str:
        return f"<ledger {self.label}>"

    def name_sessions(self, name: str) -> None:
        """Nothing: a database that shows names of sessions says so itself."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """A short transaction on a pooled connection."""
        return self._pool.transaction()

    def statement(self) -> AbstractContextManager[Tx]:
        """A transaction for one statement, on a pooled connection."""
        return self._pool.transaction()

    def reading(self) -> AbstractContextManager[Tx]:
        """A look at what is committed, on a pooled connection."""
        return self._pool.reading()

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """The same: a pooled connection is never the caller's."""
        return self._pool.transaction()

    def enclosing_transaction(self) -> Tx | None:
        """It has no framework whose transaction it could join."""
        return None

    def after_commit(self, act: Callable[[], Any]) -> bool:
        """Nor one that would tell of its commit."""
        return False

    def leave(self) -> None:
        """Its connections are pooled: there is nothing to close."""

    def require_sessions(self) -> None:
        """Nothing is known that stands in front of it."""

    def close(self) -> None:
        """Close pooled connections."""
        self._pool.close()
        self._begun.close()
