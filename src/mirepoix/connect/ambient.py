"""The caller's transaction: what ``with mirepoix.using(session):`` means, for as long as the block lasts."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from mirepoix.errors import UnsupportedDatabase
from mirepoix.ledger.tx import Tx

_current: ContextVar[Tx | None] = ContextVar("mirepoix_transaction", default=None)


def current() -> Tx | None:
    """The transaction that tasks sent right now belong to, or None."""
    return _current.get()


@contextmanager
def joined(tx: Tx) -> Iterator[None]:
    """Let everything sent inside the block belong to *tx*."""
    token = _current.set(tx)
    try:
        yield
    finally:
        _current.reset(token)


def tx_of(transaction: Any) -> Tx:
    """A `Tx` over what the caller holds: a psycopg or sqlite3 connection, an SQLAlchemy Session or Connection.

    Raises UnsupportedDatabase for anything else.
    """
    if isinstance(transaction, sqlite3.Connection):
        return _sqlite3_tx(transaction)
    for library in ("psycopg", "sqlalchemy"):
        # Only a library that is imported already can have made the object.
        if library in sys.modules and type(transaction).__module__.split(".")[0] in _MAKERS[library]:
            return import_module(f"mirepoix.connect.{library}").caller_tx(transaction)  # type: ignore[no-any-return]
    if "sqlalchemy" in sys.modules:
        found = import_module("mirepoix.connect.sqlalchemy").caller_tx_or_none(transaction)
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise UnsupportedDatabase(f"{type(transaction).__module__}.{type(transaction).__qualname__}")


_MAKERS = {"psycopg": {"psycopg"}, "sqlalchemy": {"sqlalchemy"}}


def _sqlite3_tx(connection: sqlite3.Connection) -> Tx:
    from mirepoix.connect.dbapi import DbapiTx

    def cursor() -> sqlite3.Cursor:
        made = connection.cursor()
        made.row_factory = None
        return made

    return DbapiTx(cursor, "sqlite", "named")
