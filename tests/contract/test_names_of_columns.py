"""What the columns of an answer are called is read from the statement. The drivers say the same."""

from __future__ import annotations

import pytest

from driver import Ledger
from mirepoix.sql import steps
from statements import statements

LISTS = frozenset({"rows", "ids", "queues", "tried", "held_up", "group_ids", "found"})
"""Parameters that are JSON arrays."""

NAMES = sorted({statement.name for statement in statements()})


@pytest.mark.parametrize("name", NAMES)
def test_the_driver_names_the_columns_of_an_answer_as_the_statement_does(ledger: Ledger, name: str):
    dialect = ledger.source.dialect
    style = "named" if dialect == "sqlite" else "pyformat"
    if not {dialect, "common"} & {statement.folder for statement in statements() if statement.name == name}:
        pytest.skip(f"not a statement of {dialect}")
    cursor = ledger.connection.raw.cursor()
    cursor.execute("BEGIN")
    for step in steps(name, dialect, style):
        if not step.rows.columns:
            continue
        # PostgreSQL finds the type of a text by itself; MySQL's LIMIT takes numbers alone.
        params = {key: "[]" if key in LISTS else "2030-01-01" if key.endswith("_at") else 1 for key in step.names}
        if dialect == "postgresql":
            params = {key: str(value) for key, value in params.items()}
        cursor.execute(step.sql, params)
        assert tuple(column[0] for column in cursor.description) == step.rows.columns
        cursor.fetchall()
    cursor.execute("ROLLBACK")
