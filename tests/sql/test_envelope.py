"""One list of the envelope's columns stands behind every statement that writes or delivers messages."""

from __future__ import annotations

from dataclasses import fields

import pytest

from driver import envelope
from mirepoix.ledger.enqueue import as_row
from mirepoix.records import Envelope, Taken
from mirepoix.sql import DIALECTS, steps
from mirepoix.sql.envelope import COLUMNS, expand
from statements import statements

NOT_STORED = {"eta_in_s", "expires_in_s", "asked_at", "at_limit", "follows"}
"""Fields of an envelope that only its sender needs."""


def test_every_column_is_a_field_of_the_envelope_and_the_other_way_round():
    assert {column.name for column in COLUMNS} == {field.name for field in fields(Envelope)} - NOT_STORED


def test_what_is_delivered_reaches_the_worker():
    assert {column.name for column in COLUMNS if column.is_delivered} <= {field.name for field in fields(Taken)}


def test_a_row_in_json_has_every_column():
    assert list(as_row(envelope())) == [column.name for column in COLUMNS]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_insert_has_as_many_values_as_columns(dialect: str):
    names, values = (expand(f"{{envelope {what}}}", dialect) for what in ("columns", "values"))
    assert names.count(", ") == values.count(", ") == len(COLUMNS)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["take", "take_by_id", "take_returned", "resume_parked", "unsent"])
def test_whoever_delivers_a_task_reads_what_is_delivered(name: str, dialect: str):
    (answer,) = [step.rows for step in steps(name, dialect, "named") if len(step.rows.columns) > 1]
    assert {column.name for column in COLUMNS if column.is_delivered} < set(answer.columns)


def test_no_statement_lists_the_columns_by_itself():
    listed = [statement.where for statement in statements() if "content_encoding" in statement.text]
    assert listed == []


def test_an_unknown_expression_is_an_error():
    with pytest.raises(ValueError, match="unknown expression"):
        expand("{envelope fields}", "sqlite")
