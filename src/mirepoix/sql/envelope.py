"""The columns of an envelope, once: every statement that writes or delivers messages takes them from here.

- ``{envelope rows}``: the messages of ``:rows``, a JSON array, as the table ``r``.
- ``{envelope columns}`` and ``{envelope values}``: what an ``INSERT`` writes of ``r``.
- ``{envelope changes}``: what an ``UPDATE`` assigns when the message of ``r`` replaces the column that a task has.
- ``{envelope message}``: what a worker or a relay reads to deliver a task; ``{envelope message t}`` of the table ``t``.

A new column of the envelope is a line in `COLUMNS`, a field of `mirepoix.records.Envelope` and a migration. If workers
read it, it is a field of `mirepoix.records.Taken` too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One value of an envelope: called *name* in JSON and in `mirepoix.records.Envelope`."""

    name: str
    type: str = "text"
    """``text``, ``int``, ``smallint``, ``json``, ``moment``, or ``id``: a text that MySQL compares with keys."""
    stored_as: str = ""
    """What the table calls it, if that is not its name."""
    is_replaced: bool = True
    """Whether ``{envelope changes}`` assigns it. The other columns are assigned by each statement itself."""
    is_delivered: bool = False
    """Whether workers and relays read it to deliver the task."""

    @property
    def stored(self) -> str:
        """What the table calls it."""
        return self.stored_as or self.name


COLUMNS = (
    Column("id", "id", is_replaced=False),
    Column("name", is_delivered=True),
    Column("queue", is_delivered=True),
    Column("priority", "smallint", is_delivered=True),
    Column("retries", "int"),
    Column("root_id", is_replaced=False),
    Column("parent_id", is_replaced=False),
    Column("group_id", is_replaced=False),
    Column("eta", "moment"),
    Column("expires", "moment", stored_as="expires_at"),
    Column("content_type", is_delivered=True),
    Column("content_encoding", is_delivered=True),
    Column("body_encoding", is_delivered=True),
    Column("body", is_delivered=True),
    Column("headers", "json", is_delivered=True),
    Column("properties", "json", is_delivered=True),
    Column("exchange", is_delivered=True),
    Column("routing_key", is_delivered=True),
    Column("sent_fence", "int", is_replaced=False),
    Column("version", "int"),
    Column("shape"),
    Column("written_by", is_delivered=True),
    Column("limit_key"),
)
"""In the order of the statements."""

_MACRO = re.compile(r"\{envelope (\w+)(?: (\w+))?\}")
_TYPES = {
    "postgresql": {"id": "text", "json": "text", "moment": "timestamptz"},
    "mysql": {"id": "{id}", "text": "{text}", "json": "{text}", "moment": "{text}"},
}
_SQLITE_MOMENT = "strftime('%Y-%m-%d %H:%M:%f', {})"


def expand(sql: str, dialect: str) -> str:
    """*sql* with the expressions of this module replaced; what they become may have those of `mirepoix.sql.spell`."""
    return _MACRO.sub(lambda found: _expanded(found[1], found[2], dialect), sql) if "{envelope " in sql else sql


def _expanded(what: str, table: str | None, dialect: str) -> str:
    due_at = f"CASE WHEN {_value(_ETA, dialect)} > {{now}} THEN {_value(_ETA, dialect)} END"
    of = "t." if dialect == "mysql" else ""  # the others have no table's name in front of what SET assigns
    match what:
        case "rows":
            return _rows(dialect)
        case "columns":
            return ", ".join([*(column.stored for column in COLUMNS), "due_at"])
        case "values":
            return ", ".join([*(_value(column, dialect) for column in COLUMNS), due_at])
        case "changes":
            changes = [f"{of}{column.stored} = {_value(column, dialect)}" for column in COLUMNS if column.is_replaced]
            return ", ".join([*changes, f"{of}due_at = {due_at}"])
        case "message":
            of = f"{table}." if table else ""
            return ", ".join(_read(f"{of}{column.stored}", column) for column in COLUMNS if column.is_delivered)
    raise ValueError(f"unknown expression {{envelope {what}}}")


_ETA = next(column for column in COLUMNS if column.name == "eta")


def _rows(dialect: str) -> str:
    if dialect == "sqlite":
        return f"(SELECT {', '.join(map(_extracted, COLUMNS))} FROM json_each(:rows)) AS r"  # noqa: S608 (no value is in it)
    typed = [(column.name, _TYPES[dialect].get(column.type, column.type)) for column in COLUMNS]
    if dialect == "postgresql":
        listed = ", ".join(f"{name} {kind}" for name, kind in typed)
        return f"json_to_recordset(CAST(:rows AS json)) AS r({listed})"
    listed = ", ".join(f"{name} {kind} PATH '$.{name}'" for name, kind in typed)
    return f"JSON_TABLE({{json :rows}}, '$[*]' COLUMNS (number FOR ORDINALITY, {listed})) AS r"


def _extracted(column: Column) -> str:
    found = f"json_extract(value, '$.{column.name}')"
    return f"{_SQLITE_MOMENT.format(found) if column.type == 'moment' else found} AS {column.name}"


def _value(column: Column, dialect: str) -> str:
    """The value of a column of the table, from ``r``."""
    if column.type == "json" and dialect == "postgresql":
        return f"CAST(r.{column.name} AS json)"
    if column.type == "moment" and dialect == "mysql":
        return f"{{moment r.{column.name}}}"
    return f"r.{column.name}"


def _read(stored: str, column: Column) -> str:
    return f"{{as_text {stored}}} AS {column.name}" if column.type == "json" else stored
