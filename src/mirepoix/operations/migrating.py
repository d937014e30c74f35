"""Migrate a ledger that is in use, and hold up its users only for moments.

A script that changes a table waits for the transactions that are open on it. Everybody who comes later waits behind the
script, so one transaction that stays open for an hour would stop the whole ledger for an hour. Therefore a script waits
for `ledger.migrate.BRIEFLY_S` seconds. Then it gives up its place, lets the others pass, and tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mirepoix.connect import mysql_codes
from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import migrate as scripts
from mirepoix.operations import indexes

PASS_S = 2.0
"""How long others pass before the next try."""

_LOCK_NOT_AVAILABLE = "55P03"

T = TypeVar("T")


def migrate(connection: OwnConnection, *, post: bool = False, on_wait: Callable[[], None] = lambda: None) -> list[str]:
    """Apply the missing scripts; return the names of those that were applied. See `ledger.migrate.migrate`.

    *on_wait* is called each time that open transactions are in the way. It waits for them without end.
    """

    def patiently(act: Callable[[], T]) -> T:
        while True:
            try:
                return act()
            except Exception as error:
                if not _is_in_the_way(error):
                    raise
            on_wait()
            time.sleep(PASS_S)

    indexes.build_ahead(connection, patiently)
    return scripts.migrate(connection, post=post, patiently=patiently)


def _is_in_the_way(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE or mysql_codes.of(error) == mysql_codes.LOCK_WAIT
