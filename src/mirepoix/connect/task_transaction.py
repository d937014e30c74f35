"""A transaction that a task runs in from its beginning to its outcome, which is committed with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from mirepoix.errors import ConfigurationError
from mirepoix.ledger.tx import Tx


class TaskTransaction(Protocol):
    """A transaction that was begun: ended by `commit` or `roll_back`, one of them, once."""

    @property
    def handle(self) -> Any:
        """What user code writes with: a Session, a connection."""

    @property
    def tx(self) -> Tx:
        """The ledger's own statements in the same transaction."""

    def as_current(self) -> AbstractContextManager[None]:
        """Around user code: what it sends is part of the transaction."""

    def prepare(self) -> None:
        """Write what user code left to be written at the end, so that its errors come before the outcome."""

    def commit(self) -> None:
        """COMMIT. Raises what the database or the driver raises; then nothing of it is left, or nobody knows."""

    def roll_back(self) -> None:
        """ROLLBACK, and give the connection up. Never raises."""


class OwnTaskTransaction:
    """One on a connection of our own; *handle* is the driver's connection."""

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
        """Around user code."""
        context: AbstractContextManager[None] = self._as_current(self.tx)
        return context

    def prepare(self) -> None:
        """Drivers keep nothing back; but user code must have left the transaction open."""
        if not self._is_open(self.handle):
            raise ConfigurationError(ENDED_BY_ITSELF)

    def commit(self) -> None:
        """COMMIT."""
        self._stack.close()

    def roll_back(self) -> None:
        """ROLLBACK."""
        with contextlib.suppress(Exception):
            self._stack.__exit__(RolledBackError, RolledBackError(), None)


class RolledBackError(Exception):
    """Leaves the transaction's block so that it is rolled back."""


ENDED_BY_ITSELF = (
    "The code of a transactional task ended its transaction by itself. It is committed when the task returns, together "
    "with the outcome, and rolled back when it raises: leave out commit() and rollback(), and use savepoints for parts "
    "of it. What was committed stays; the task counts as failed."
)
