"""A transaction in which a task runs from its beginning to its outcome. It commits together with the outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from mirepoix.errors import ConfigurationError
from mirepoix.ledger.tx import Tx


class TaskTransaction(Protocol):
    """A transaction that has begun. Exactly one of `commit` and `roll_back` ends it, once."""

    @property
    def handle(self) -> Any:
        """The Session or connection with which user code writes."""

    @property
    def tx(self) -> Tx:
        """Runs the ledger's statements in the same transaction."""

    def as_current(self) -> AbstractContextManager[None]:
        """Surround user code: everything that it sends is part of the transaction."""

    def prepare(self) -> None:
        """Write what user code left for the end, so that its errors come before the outcome."""

    def commit(self) -> None:
        """COMMIT. If it raises, the transaction was rolled back, or its fate is unknown."""

    def roll_back(self) -> None:
        """ROLLBACK, and give the connection up. Never raises."""


class OwnTaskTransaction:
    """A transaction on a connection of our own. *handle* is the driver's connection."""

    def __init__(
        self,
        open_stack: Callable[[ExitStack], tuple[Any, Tx]],
        is_open: Callable[[Any], bool],
        as_current: Callable[[Tx], Any],
    ) -> None:
        self._stack = ExitStack()
        self._is_open = is_open
        self._as_current = as_current
        try:
            self.handle, self.tx = open_stack(self._stack)
        except BaseException:
            self.roll_back()
            raise

    def as_current(self) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = self._as_current(self.tx)
        return context

    def prepare(self) -> None:
        """Check that user code has left the transaction open."""
        if not self._is_open(self.handle):
            raise ConfigurationError(ENDED_BY_ITSELF)

    def commit(self) -> None:
        self._stack.close()

    def roll_back(self) -> None:
        with contextlib.suppress(Exception):
            self._stack.__exit__(RolledBackError, RolledBackError(), None)


class RolledBackError(Exception):
    """Leaves the transaction's block so that it is rolled back."""


ENDED_BY_ITSELF = (
    "The code of a transactional task ended its transaction by itself. Mirepoix commits it with the outcome when the "
    "task returns, and rolls it back when the task raises. Leave out commit() and rollback(), and use savepoints for "
    "parts of it. What was committed stays; the task counts as failed."
)
