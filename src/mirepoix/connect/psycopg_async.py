"""Join a psycopg ``AsyncConnection``. Envelopes are collected, and written with ``await`` when the block ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.connect import private
from mirepoix.connect.caller import explained
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import outgoing
from mirepoix.ledger.rows import ROWS_A_STATEMENT
from mirepoix.records import Outgoing
from mirepoix.sql import steps
from mirepoix.sql.columns import Row

logger = logging.getLogger("mirepoix.enqueue")

_IDLE = 0
"""libpq's PQTRANS_IDLE: no transaction is open."""


class Collector:
    """Collects envelopes until `write`. psycopg does not report commits and savepoints, so two uses are refused.

    A ``transaction()`` block may not begin inside the ``using`` block, because its rollback could not drop tasks. The
    transaction may not end inside the block, because the tasks would miss it. Both raise ConfigurationError. A
    ``commit()`` with further statements after it in the same block cannot be detected.
    """

    dialect = "postgresql"

    def __init__(self, connection: Any, where: Callable[[], str]) -> None:
        self._connection = connection
        self._where = where
        self._depth = private.depth_of(connection)
        self._was_in_transaction = False
        self._envelopes: list[Outgoing] = []

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        """Collect *envelopes* for the end of the block."""
        if private.depth_of(self._connection) != self._depth:
            raise ConfigurationError(
                "A transaction() block of this AsyncConnection began or ended inside `async with mirepoix.using()`: "
                "write `async with connection.transaction(), mirepoix.using(connection):` instead."
            )
        self._was_in_transaction = self._is_in_transaction()
        self._envelopes.extend(envelopes)

    async def write(self) -> None:
        """Write the collected envelopes in the connection's transaction."""
        envelopes, self._envelopes = self._envelopes, []
        if not envelopes:
            return
        if self._was_in_transaction and not self._is_in_transaction():
            raise ConfigurationError(
                f"The transaction ended inside `async with mirepoix.using(connection)`: {len(envelopes)} tasks that "
                "were sent in it are not written. Commit after the block."
            )
        for start in range(0, len(envelopes), ROWS_A_STATEMENT):
            await self._write(envelopes[start : start + ROWS_A_STATEMENT])

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Register nothing, because psycopg does not report commits."""
        return False

    def abandon(self) -> None:
        """Drop the collected envelopes, and log that."""
        if self._envelopes:
            logger.warning(
                "an exception left `async with mirepoix.using(connection)`: %d tasks are not sent", len(self._envelopes)
            )

    async def _write(self, chunk: list[Outgoing]) -> None:
        # Only `outgoing.add` knows the statements, and it cannot await. It runs up to the first statement that has no
        # answer yet, and again with the answer. A chunk takes a few statements at most.
        answers: list[_Answer] = []
        while True:
            try:
                outgoing.add(_Replay(answers), chunk)
            except _NeedsAnswerError as asked:
                answers.append(await self._answer(asked.statement, asked.params))
            else:
                return

    async def _answer(self, name: str, params: dict[str, Any]) -> _Answer:
        with explained(self._where):
            async with self._connection.cursor(row_factory=_plain_rows) as cursor:
                # Nothing is prepared, because a pooler may be behind the connection.
                (step,) = steps(name, self.dialect, "pyformat")
                await cursor.execute(step.sql, params, prepare=False)
                rows = await cursor.fetchall() if cursor.description is not None else ()
                return _Answer(int(cursor.rowcount), step.rows.all(rows))

    def _is_in_transaction(self) -> bool:
        return int(self._connection.info.transaction_status) != _IDLE


@dataclass(frozen=True, slots=True)
class _Answer:
    rowcount: int
    rows: list[Row]


class _NeedsAnswerError(Exception):
    def __init__(self, statement: str, params: dict[str, Any]) -> None:
        self.statement = statement
        self.params = params
        super().__init__(statement)


class _Replay:
    """A `Tx` that returns the answers it has, in order, and asks for the next answer by raising."""

    dialect = "postgresql"

    def __init__(self, answers: Sequence[_Answer]) -> None:
        self._left = iter(answers)

    def run(self, statement: str, /, **params: Any) -> int:
        return self._next(statement, params).rowcount

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        return self._next(statement, params).rows

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        raise NotImplementedError(sql)

    def script(self, sql: str, /) -> None:
        raise NotImplementedError(sql)

    def _next(self, statement: str, params: dict[str, Any]) -> _Answer:
        answer = next(self._left, None)
        if answer is None:
            raise _NeedsAnswerError(statement, params)
        return answer


def _plain_rows(_cursor: Any) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return tuple
