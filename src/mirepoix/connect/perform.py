"""Run the steps of a statement, one after another, in a database without RETURNING."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.connect import mysql_codes
from mirepoix.errors import ConfigurationError
from mirepoix.sql import Step
from mirepoix.sql.columns import Row

MOST_TRIES = 5
"""How often an INSERT may conflict with rows that others committed since its SELECT, before that is an error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The number of rows that the last writing step changed, and the rows of the last reading step, with names."""

    rowcount: int
    rows: list[Row]


Execute = Callable[[str, dict[str, Any]], tuple[int, list[tuple[Any, ...]] | None]]
"""Runs one statement. Returns the number of changed rows, and the rows, or None if it returns no rows."""


def perform(steps: Sequence[Step], execute: Execute, params: dict[str, Any]) -> Answer:
    """Run *steps* in the open transaction, as `mirepoix.sql` describes them.

    Raises ConfigurationError if a locked row has changed, which means that the connection commits each statement.
    """
    if len(steps) == 1 and steps[0].each is None:
        count, rows = execute(steps[0].sql, params)
        return Answer(count, steps[0].rows.all(rows or ()))
    for tried in range(1, MOST_TRIES + 1):
        try:
            return _perform(steps, execute, params, is_again=tried > 1)
        except Exception as error:  # each driver has its own class, and no driver is imported here
            is_beaten = steps[-1].is_insert and mysql_codes.of(error) == mysql_codes.DUPLICATE
            if not is_beaten or tried == MOST_TRIES:
                raise
    raise AssertionError


def _perform(steps: Sequence[Step], execute: Execute, params: dict[str, Any], *, is_again: bool) -> Answer:
    answer: list[tuple[Any, ...]] = []
    changed, found = 0, params
    rows: list[tuple[Any, ...]] | None
    for step in steps:
        sql = step.sharing if is_again and not step.is_insert and not step.is_locking else step.sql
        if step.assumed is not None and not is_again:
            key, listed = step.assumed
            count, rows = 0, [(row[key],) for row in json.loads(params[listed])]
        else:
            count, rows = _each(step, sql, execute, found)
        if rows is None:
            changed = count
            if found is not params and count != len(answer):
                raise ConfigurationError(
                    f"The ledger found {len(answer)} rows to write and wrote {count}: the connection commits each "
                    "statement by itself, so nothing kept others away. Begin a transaction first."
                )
        elif rows or step is steps[-1]:
            answer, found = rows, {**params, "found": json.dumps([row[0] for row in rows])}
        else:
            return Answer(0, [])
    kind = next((step.rows for step in reversed(steps) if step.rows.columns), Row)
    return Answer(changed, kind.all(answer))


def _each(step: Step, sql: str, execute: Execute, params: dict[str, Any]) -> tuple[int, list[tuple[Any, ...]] | None]:
    own = {name: params[name] for name in step.names if name in params}
    if step.each is None:
        return execute(sql, own)
    single, every = step.each
    found: list[tuple[Any, ...]] = []
    for value in json.loads(params[every]):
        found += execute(sql, {**own, single: value})[1] or []
    return 0, found
