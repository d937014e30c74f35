"""A small pool of own connections for short transactions, safe over fork, threads and greenlets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mirepoix.ledger.tx import Connection, Tx

_inherited: list[Connection] = []
"""Connections a child found after a fork: never used, never closed (closing would end the parent's session)."""


class Pool:
    """Lends connections; at most *size* are open, and a thread that finds none waits for one.

    A connection that failed is closed, not lent again. After a fork the child starts with an empty pool.
    """

    def __init__(self, open_connection: Callable[[], Connection], size: int = 10) -> None:
        self._open = open_connection
        self._size = size
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[Connection] = []
        self._slots = threading.BoundedSemaphore(self._size)

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """One transaction on a lent connection."""
        if self._pid != os.getpid():
            _inherited.extend(self._idle)
            self._reset()
        with self._slots:
            connection = self._idle.pop() if self._idle else self._open()
            is_sound = False
            try:
                with connection.transaction() as tx:
                    yield tx
                is_sound = True
            finally:
                if is_sound:
                    self._idle.append(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Close what is idle."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()
