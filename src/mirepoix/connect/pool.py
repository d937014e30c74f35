"""A small pool of own connections for short transactions, safe with forks, threads and greenlets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from mirepoix.connect.dropped import close_when_dropped
from mirepoix.ledger.tx import Connection, Tx

_inherited: list[Connection] = []
"""Connections that a child inherited by a fork. They are never used, and never closed, because closing would end the
parent's session."""


def _transaction(connection: Any) -> AbstractContextManager[Tx]:
    begun: AbstractContextManager[Tx] = connection.transaction()
    return begun


def _reading(connection: Any) -> AbstractContextManager[Tx]:
    begun: AbstractContextManager[Tx] = connection.reading()
    return begun


class Pool:
    """A pool that lends connections. At most *size* are open; a thread that finds none waits (None: no limit).

    A connection that failed is closed and not lent again. A connection that died while it was idle is replaced before
    anything is sent on it; its BEGIN then raises *stale*. A connection that does not *fit* the caller is left to
    others. After a fork the child starts with an empty pool.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        size: int | None = 10,
        stale: tuple[type[Exception], ...] = (),
        fits: Callable[[Any], bool] | None = None,
    ) -> None:
        self._fits = fits
        self._open = open_connection
        self._stale = stale
        self._size = size
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[Connection] = []
        self._unused = 0
        self._at_drop = close_when_dropped(self, self._idle)
        self._slots: AbstractContextManager[object] = nullcontext()
        if self._size is not None:
            self._slots = threading.BoundedSemaphore(self._size)

    def transaction(self) -> AbstractContextManager[Tx]:
        """Open a transaction on a lent connection."""
        return self.beginning_with(_transaction)

    def reading(self) -> AbstractContextManager[Tx]:
        """Open a read-only transaction on a lent connection. It does not block writers."""
        return self.beginning_with(_reading)

    @contextmanager
    def beginning_with(self, begin: Callable[[Any], AbstractContextManager[Tx]]) -> Iterator[Tx]:
        """Enter *begin* on a lent connection."""
        with self.lent(begin) as (_, tx):
            yield tx

    @contextmanager
    def lent(
        self, begin: Callable[[Any], AbstractContextManager[Tx]] = _transaction
    ) -> Iterator[tuple[Connection, Tx]]:
        """Enter *begin* on a lent connection, and also yield the connection."""
        if self._pid != os.getpid():
            _inherited.extend(self._idle)
            self._at_drop.detach()
            self._reset()
        with self._slots:
            transaction = ExitStack()
            connection, tx = self._begin(transaction, begin)
            is_sound = False
            try:
                with transaction:
                    yield connection, tx
                is_sound = True
            finally:
                if is_sound:
                    self._idle.append(connection)
                else:
                    connection.close()

    def _begin(
        self, transaction: ExitStack, begin: Callable[[Any], AbstractContextManager[Tx]]
    ) -> tuple[Connection, Tx]:
        while True:
            connection, was_idle = self._lend()
            try:
                return connection, transaction.enter_context(begin(connection))
            except BaseException as error:
                connection.close()
                if not (was_idle and isinstance(error, self._stale)):
                    raise

    def _lend(self) -> tuple[Connection, bool]:
        left: list[Connection] = []
        try:
            while True:
                connection = self._idle.pop()  # atomic, so two threads cannot get the same connection
                self._unused = min(self._unused, len(self._idle))
                if self._fits is None or self._fits(connection):
                    return connection, True
                left.append(connection)
        except IndexError:
            return self._open(), False
        finally:
            self._idle.extend(left)

    def close_unused(self) -> None:
        """Close the connections that nobody has borrowed since the last call.

        The last connection that was returned is the first to be lent, so those at the beginning are unused. A
        connection that does not fit the caller stays open.
        """
        if self._pid != os.getpid():
            return
        left: list[Connection] = []
        for _ in range(self._unused):
            try:
                connection = self._idle.pop(0)
            except IndexError:
                break
            if self._fits is None or self._fits(connection):
                connection.close()
            else:
                left.append(connection)
        self._idle[:0] = left
        self._unused = len(self._idle)

    def close(self) -> None:
        """Close the idle connections."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()
