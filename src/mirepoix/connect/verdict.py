"""Judge an error of a database: it passes by itself, or what was to be written is the reason, or neither.

Three answers (`Verdict`), and what follows from each when an outcome cannot be written:

* ``PASSES``: the server is away, full, busy or read only. The same transaction is tried until it is taken.
* ``CONTENT``: a value does not fit a column, a constraint refuses it, or it cannot be written at all. The same values
  would be refused for ever: the attempt fails, alone.
* ``ELSE``: the database says something else, as of a missing table or privilege. Somebody has to mend that; meanwhile
  it is logged and tried again.

docs/reference/database-errors.md has the tables in words; `tests/connect/test_verdict.py` compares the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import Enum, auto

from mirepoix.connect import mysql_codes


class Verdict(Enum):
    """What an error says of the next try."""

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
"""By PostgreSQL's SQLSTATE, or else by its class, the first two letters. What is in neither is ``ELSE``."""

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
"""By SQLite's primary result code."""

SQLITE_SAYS = ("malformed JSON", "JSON cannot hold BLOB values", "integer overflow")
"""What its functions say of a value: the code is the same as of a missing table, ``SQLITE_ERROR``, and these are
``CONTENT``."""

_TOO_MANY_CONNECTIONS = "53300"
_OF_CONTENT = frozenset({"DataError", "IntegrityError"})
_OF_DATABASES = frozenset({"DatabaseError", "InterfaceError"})
"""PEP 249's words, by which a driver tells what it refused before any server saw it."""


def verdict(error: BaseException, passing: tuple[type[Exception], ...] = ()) -> Verdict:
    """Judge *error* by the code that it, or what it wraps, bears; without one by its class.

    *passing* are the driver's classes that mean a database that is away: what has no code has met no server.
    """
    chain = [*_wrapped(error)]
    for one in chain:
        found = _by_code(one)
        if found is not None:
            return found
    if any(isinstance(one, (*passing, OSError, MemoryError)) for one in chain):
        return Verdict.PASSES
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    # What no driver raised came before it: from json, or from code that a value was too odd for.
    return Verdict.ELSE if names & _OF_DATABASES and not names & _OF_CONTENT else Verdict.CONTENT


def said(error: BaseException) -> str:
    """*error* in one line: below it databases show the row, with what a task was called with or returned."""
    words = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def wants_connections(error: BaseException) -> bool:
    """Whether the server takes no more connections, of this user or of anybody."""
    for one in _wrapped(error):
        if mysql_codes.own(one) in mysql_codes.TOO_MANY or getattr(one, "sqlstate", None) == _TOO_MANY_CONNECTIONS:
            return True
        # psycopg knows no code of what is said before there is a connection.
        words = str(one)
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
