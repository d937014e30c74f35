"""SQLAlchemy's statements and commits, hooked at the dialect, for every synchronous driver."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from sqlalchemy import util
from sqlalchemy.engine.default import DefaultDialect

from mirepoix.crashtest import sql as statements
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import Died, current


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""
    replace(stack, DefaultDialect, "do_execute", _executing)
    replace(stack, DefaultDialect, "do_executemany", _executing)
    replace(stack, DefaultDialect, "do_commit", _committing)
    replace(stack, DefaultDialect, "do_rollback", _rolling_back)
    # After a BaseException that is not an Exception, SQLAlchemy discards the connection. A database in memory would be
    # lost.
    replace(stack, util, "is_exit_exception", lambda own: lambda error: not isinstance(error, Died) and own(error))


def _executing(original: Any) -> Any:
    def execute(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        delivery = current()
        if delivery is None:
            return original(self, cursor, statement, parameters, context)
        table = statements.written_table(statement)
        if table is None:
            if delivery.is_dead:
                raise Died
            return original(self, cursor, statement, parameters, context)
        delivery.tables.add(f"sqlalchemy.{table}")
        with delivery.point("sql", statements.label(statement), is_durable=False):
            return original(self, cursor, statement, parameters, context)

    return execute


def _committing(original: Any) -> Any:
    def commit(self: Any, connection: Any) -> Any:
        delivery = current()
        if delivery is None:
            return original(self, connection)
        with delivery.point("commit", "COMMIT", is_durable=True, undo=connection.rollback):
            done = original(self, connection)
            for effect in delivery.waiting:
                delivery.journal.add(effect)
            delivery.waiting.clear()
            delivery.is_committed = True
            return done

    return commit


def _rolling_back(original: Any) -> Any:
    def rollback(self: Any, connection: Any) -> Any:
        delivery = current()
        if delivery is not None:
            delivery.waiting.clear()
        return original(self, connection)

    return rollback
