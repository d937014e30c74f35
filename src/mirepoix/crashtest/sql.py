"""Recognise a statement by its first words."""

from __future__ import annotations

import re

_TABLE = re.compile(
    r"""^\s*(?:INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM|MERGE\s+INTO
        |COPY|TRUNCATE(?:\s+TABLE)?)\s+(?:ONLY\s+)?
        (?:["`\[]?(\w+)["`\]]?\s*\.\s*)?["`\[]?(\w+)""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEMA = re.compile(r"^\s*(CREATE|DROP|ALTER)\b(?!\s+(?:(?:LOCAL|GLOBAL)\s+)?TEMP)", re.IGNORECASE)
_COMMIT = re.compile(r"^\s*(?:COMMIT|END)\b(?!\s+PREPARED)", re.IGNORECASE)
_COPY_OUT = re.compile(r"^\s*COPY\b.*\bTO\s+(?:STDOUT|PROGRAM|')", re.IGNORECASE | re.DOTALL)

_DEADLOCK, _DEADLOCK_OF_MYSQL = "40P01", 1213

SCHEMA = "(schema)"
"""The name for a statement that changes the schema, instead of a table's name."""


def written_table(sql: str) -> str | None:
    """Return the table that *sql* writes to, or None for a SELECT or a statement about transactions."""
    found = written_name(sql)
    if found is not None:
        return found[1]
    return SCHEMA if _SCHEMA.match(sql) else None


def written_name(sql: str) -> tuple[str, str] | None:
    """Return the schema (empty if none is named) and the table that *sql* writes rows to, or None."""
    found = _TABLE.match(sql)
    if found is None or _COPY_OUT.match(sql):
        return None
    return (found.group(1) or "", found.group(2))


def is_commit(sql: str) -> bool:
    """Whether *sql* commits a transaction."""
    return _COMMIT.match(sql) is not None


def label(sql: str) -> str:
    """Return a short description without values."""
    verb = sql.split(None, 1)[0].upper()
    return f"{verb} {written_table(sql) or ''}".strip()


def is_deadlock(error: BaseException | None) -> bool:
    """Whether a database ended a transaction because of a deadlock. The error may be wrapped."""
    while error is not None:
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code == _DEADLOCK or (error.args and error.args[0] == _DEADLOCK_OF_MYSQL):
            return True
        error = getattr(error, "exc", None) or error.__cause__ or error.__context__
    return False
