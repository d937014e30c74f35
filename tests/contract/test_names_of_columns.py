"""What the columns of an answer are called is read from the statement. The drivers say the same."""

from __future__ import annotations

from driver import Ledger
from mirepoix.sql import steps
from statements import statements

LISTS = frozenset({"rows", "ids", "queues", "tried", "held_up", "group_ids", "found", "keys"})
"""Parameters that are JSON arrays."""


def test_the_driver_names_the_columns_of_every_answer_as_the_statement_does(ledger: Ledger) -> None:
    dialect = ledger.source.dialect
    style = "named" if dialect == "sqlite" else "pyformat"
    names = {statement.name for statement in statements() if statement.folder in (dialect, "common")}
    cursor = ledger.connection.raw.cursor()
    differing = []
    for name in sorted(names):
        cursor.execute("BEGIN")
        for step in steps(name, dialect, style):
            if not step.rows.columns:
                continue
            cursor.execute(step.sql, params(step.names, dialect))
            if (said := tuple(column[0] for column in cursor.description)) != step.rows.columns:
                differing.append((name, said, step.rows.columns))
            cursor.fetchall()
        cursor.execute("ROLLBACK")
    assert differing == []
    assert len(names) > 150


def params(names: tuple[str, ...], dialect: str) -> dict[str, str | int]:
    """A value for each. PostgreSQL finds the type of a text by itself; MySQL's LIMIT takes numbers alone."""
    found = {key: "[]" if key in LISTS else "2030-01-01" if key.endswith("_at") else 1 for key in names}
    return {key: str(value) for key, value in found.items()} if dialect == "postgresql" else found
