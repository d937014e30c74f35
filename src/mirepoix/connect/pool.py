"""A small pool of own connections for short transactions, safe over fork, threads and greenlets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from mirepoix.connect.dropped import close_when_dropped
from mirepoix.ledger.tx import Connection, Tx

_inherited: list[Connection] = []
"""Connections a child found after a fork: never used, never closed (closing would end the parent's session)."""


def _transaction(connection: Any) -> AbstractContextManager[Tx]:
    begun: AbstractContextManager[Tx] = connection.transaction()
    return begun


def _reading(connection: Any) -> AbstractContextManager[Tx]:
    begun: AbstractContextManager[Tx] = connection.reading()
    return begun


class Pool:
    """Lends connections; at most *size* are open, and a thread that finds none waits for one (None: there is no bound).

    A connection that failed is closed, not lent again; one that died while it was idle (*stale* is what its BEGIN then
    raises) is replaced before anything was sent on it. One that does not *fit* whoever asks is left to others. After a
    fork the child starts with an empty pool.
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
        self._at_drop = close_when_dropped(self, self._idle)
        self._slots: AbstractContextManager[object] = nullcontext()
        if self._size is not None:
            self._slots = threading.BoundedSemaphore(self._size)

    def transaction(self) -> AbstractContextManager[Tx]:
        """One transaction on a lent connection."""
        return self.beginning_with(_transaction)

    def reading(self) -> AbstractContextManager[Tx]:
        """One look on a lent connection: it holds up nobody who writes."""
        return self.beginning_with(_reading)

    @contextmanager
    def beginning_with(self, begin: Callable[[Any], AbstractContextManager[Tx]]) -> Iterator[Tx]:
        """What *begin* begins on a lent connection."""
        with self.lent(begin) as (_, tx):
            yield tx

    @contextmanager
    def lent(
        self, begin: Callable[[Any], AbstractContextManager[Tx]] = _transaction
    ) -> Iterator[tuple[Connection, Tx]]:
        """What *begin* begins on a lent connection, and the connection that it is on."""
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
                connection = self._idle.pop()  # asked this way, two threads cannot be promised the same one
                if self._fits is None or self._fits(connection):
                    return connection, True
                left.append(connection)
        except IndexError:
            return self._open(), False
        finally:
            self._idle.extend(left)

    def close(self) -> None:
        """Close what is idle."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()
