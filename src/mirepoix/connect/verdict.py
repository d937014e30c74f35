"""Judge an error of a database: it may pass, the written values are the reason, or neither.

There are three answers (`Verdict`), and each decides what happens if an outcome cannot be written:

* ``PASSES``: the server is away, full, busy or read only. The same transaction is repeated until it succeeds.
* ``CONTENT``: a value does not fit a column, a constraint refuses it, or it cannot be written at all. The same values
  would always be refused, so only this attempt fails.
* ``ELSE``: the database reports another error, such as a missing table or privilege. Somebody has to fix that.
  Meanwhile the error is logged and the transaction is tried again.

docs/reference/database-errors.md has the tables in words, and `tests/connect/test_verdict.py` compares the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import Enum, auto

from mirepoix.connect import mysql_codes


class Verdict(Enum):
    """What an error means for the next try."""

    PASSES = auto()
    CONTENT = auto()
    ELSE = auto()


SQLSTATES: dict[str, Verdict] = {
    "08": Verdict.PASSES,
    "21": Verdict.CONTENT,
    "22": Verdict.CONTENT,
    "23": Verdict.CONTENT,
    "25006": Verdict.PASSES,
    "25P03": Verdict.PASSES,
    "25P04": Verdict.PASSES,
    "40": Verdict.PASSES,
    "40002": Verdict.CONTENT,
    "44": Verdict.CONTENT,
    "53": Verdict.PASSES,
    "54": Verdict.CONTENT,
    "55": Verdict.PASSES,
    "55P02": Verdict.ELSE,
    "55P04": Verdict.ELSE,
    "57": Verdict.PASSES,
    "58": Verdict.PASSES,
    "58P01": Verdict.ELSE,
    "58P02": Verdict.ELSE,
    "72": Verdict.PASSES,
    "P0001": Verdict.CONTENT,
    "XX000": Verdict.PASSES,
}
"""Keys are PostgreSQL's SQLSTATEs, or their classes, the first two letters. Anything else is ``ELSE``."""

SQLITE: dict[int, Verdict] = {
    **dict.fromkeys(
        (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_NOMEM,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_INTERRUPT,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PROTOCOL,
            sqlite3.SQLITE_SCHEMA,
        ),
        Verdict.PASSES,
    ),
    **dict.fromkeys(
        (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE),
        Verdict.CONTENT,
    ),
}
"""Keys are SQLite's primary result codes."""

SQLITE_SAYS = ("malformed JSON", "JSON cannot hold BLOB values", "integer overflow")
"""SQLite's functions report these about a value with the same code as a missing table, ``SQLITE_ERROR``. They are
``CONTENT``."""

_TOO_MANY_CONNECTIONS = "53300"
_OF_CONTENT = frozenset({"DataError", "IntegrityError"})
_OF_DATABASES = frozenset({"DatabaseError", "InterfaceError"})
"""The class names of PEP 249. A driver uses them for errors before it reaches a server."""


def verdict(error: BaseException, passing: tuple[type[Exception], ...] = ()) -> Verdict:
    """Judge *error* by its code, or the code of the error that it wraps. Without a code its class decides.

    *passing* are the driver's classes for a database that is away. An error without a code has not reached a server.
    """
    chain = [*_wrapped(error)]
    for linked in chain:
        found = _by_code(linked)
        if found is not None:
            return found
    if any(isinstance(linked, (*passing, OSError, MemoryError)) for linked in chain):
        return Verdict.PASSES
    names = {kind.__name__ for linked in chain for kind in type(linked).__mro__}
    # Errors that no driver raised come from json, or from code that rejected a value.
    return Verdict.ELSE if names & _OF_DATABASES and not names & _OF_CONTENT else Verdict.CONTENT


def first_line(error: BaseException) -> str:
    """Return the first line of *error*. In the next lines databases show the row, with a task's arguments or result."""
    words = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def wants_connections(error: BaseException) -> bool:
    """Whether the server accepts no more connections, from this user or from anyone."""
    for wrapped in _wrapped(error):
        if (
            mysql_codes.own(wrapped) in mysql_codes.TOO_MANY
            or getattr(wrapped, "sqlstate", None) == _TOO_MANY_CONNECTIONS
        ):
            return True
        # psycopg has no code for errors before there is a connection.
        words = str(wrapped)
        if "too many connections" in words or "too many clients" in words or "connection slots are reserved" in words:
            return True
    return False


def _by_code(error: BaseException) -> Verdict | None:
    sqlite_code = getattr(error, "sqlite_errorcode", None)
    if isinstance(sqlite_code, int):
        if sqlite_code == sqlite3.SQLITE_ERROR and str(error).startswith(SQLITE_SAYS):
            return Verdict.CONTENT
        return SQLITE.get(sqlite_code & 0xFF, Verdict.ELSE)
    mysql_code = mysql_codes.own(error)
    if mysql_code is not None:
        if mysql_code in mysql_codes.PASSING:
            return Verdict.PASSES
        is_content = mysql_code in mysql_codes.CONTENT or any(
            kind.__name__ in _OF_CONTENT for kind in type(error).__mro__
        )
        return Verdict.CONTENT if is_content else Verdict.ELSE
    sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(sqlstate, str):
        return SQLSTATES.get(sqlstate) or SQLSTATES.get(sqlstate[:2], Verdict.ELSE)
    return None


def _wrapped(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__
