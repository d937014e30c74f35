"""What a statement does, as far as its first words tell."""

from __future__ import annotations

import re

_TABLE = re.compile(
    r"""^\s*(?:INSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|COPY)\s+
        ["`\[]?(?:public["`]?\.["`]?)?(\w+)""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEMA = re.compile(r"^\s*(CREATE|DROP|ALTER|TRUNCATE)\b", re.IGNORECASE)


def written_table(sql: str) -> str | None:
    """The table that *sql* writes to, or None for a look or a statement about transactions."""
    found = _TABLE.match(sql)
    if found:
        return found.group(1)
    return "(schema)" if _SCHEMA.match(sql) else None


def label(sql: str) -> str:
    """A few words for people: no values."""
    verb = sql.split(None, 1)[0].upper()
    return f"{verb} {written_table(sql) or ''}".strip()
