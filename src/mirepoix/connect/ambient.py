"""The caller's transaction: what ``with mirepoix.using(session):`` means, for as long as the block lasts.

A task that is sent belongs to the innermost block that is still open::

    with mirepoix.using(session):            with             -> each task is a row at once       (`Direct`)
    async with mirepoix.using(session):      async with       -> rows are written as the block ends (`Collected`)

The blocks are kept in a context variable: other threads, and coroutines that run beside this one, do not see them.
Whatever was started inside a block and outlives it (a thread with a copied context, an asyncio task) is outside of
it from the moment the block ends.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from mirepoix.connect.caller import CallerTx, sqlite3_tx
from mirepoix.connect.source import Source
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import outgoing
from mirepoix.ledger.tx import Tx
from mirepoix.records import Outgoing

logger = logging.getLogger("mirepoix.delivery")

WRITER_WAITS_MS = 500
"""How long one who sends remote control waits for SQLite's other writers, which may be its own transaction."""


class OpenBlock(Protocol):
    """The transaction that tasks sent right now belong to."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        """Make them part of the transaction: its COMMIT makes them real, its ROLLBACK leaves nothing of them."""

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Call *act* once it is committed, never if it is rolled back. False: nobody tells of that here."""


@runtime_checkable
class Collected(OpenBlock, Protocol):
    """An asynchronous transaction: `add` cannot await, so it keeps the envelopes and `write` writes them."""

    async def write(self) -> None:
        """Write what was added and not yet written. Called when the block ends without an exception."""

    def abandon(self) -> None:
        """The block ended with an exception: its transaction decides about what was added, where it can be asked."""


class Direct:
    """A synchronous transaction: every envelope is a row at once."""

    __slots__ = ("_after_commit", "dialect", "tx")

    def __init__(self, tx: Tx, after_commit: Callable[[Callable[[], None]], bool] | None = None) -> None:
        self.tx = tx
        self.dialect = tx.dialect
        self._after_commit = after_commit

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        """Write *envelopes*."""
        outgoing.add(self.tx, envelopes)

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Call *act* once it is committed, where SQLAlchemy's Session tells of that."""
        return self._after_commit is not None and self._after_commit(act)


class using:  # noqa: N801, it reads as the statement it makes
    """Let every task that is sent inside the block be part of *transaction*: sent if it commits, and only then.

    ``with`` takes an SQLAlchemy ``Session``, ``scoped_session`` or ``Connection``, a psycopg, PyMySQL or
    ``sqlite3.Connection``. ``async with`` takes those, and SQLAlchemy's ``AsyncSession`` and ``AsyncConnection`` and
    psycopg's ``AsyncConnection``, whose rows are written when the block ends (and before a savepoint begins or a
    commit, where SQLAlchemy tells of it).

    The block neither begins nor commits nor rolls back: the caller does. Blocks nest; the innermost counts.
    Raises ConfigurationError for anything else, UnsupportedDatabase for a database that no ledger speaks.
    """

    __slots__ = ("_blocks", "_transaction")

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self._blocks: list[_Block] = []

    def __enter__(self) -> None:
        self._enter(_direct(self._transaction))

    def __exit__(self, *_: object) -> None:
        self._leave()

    async def __aenter__(self) -> None:
        self._enter(_collected(self._transaction) or _direct(self._transaction))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        open_block = self._leave()
        if isinstance(open_block, Collected):
            if kind is None:
                await open_block.write()
            else:
                open_block.abandon()

    def _enter(self, open_block: OpenBlock) -> None:
        self._blocks.append(_open(open_block))

    def _leave(self) -> OpenBlock:
        return _close(self._blocks.pop())


def current() -> OpenBlock | None:
    """The transaction that tasks sent right now belong to, or None."""
    block = _innermost()
    return block.open_block if block else None


@contextmanager
def as_current(tx: Tx) -> Iterator[None]:
    """Let everything sent inside the block belong to *tx*."""
    block = _open(Direct(tx))
    try:
        yield
    finally:
        _close(block)


def independent_transaction(source: Source) -> AbstractContextManager[Tx]:
    """A short transaction that is committed whatever becomes of the one that is joined just now.

    On SQLite it is part of that one: a second writer would wait for its end, and so for itself.
    """
    block = current()
    if source.dialect == "sqlite" and isinstance(block, Direct):
        return nullcontext(block.tx)
    return source.independent_transaction()


@contextmanager
def outside(source: Source) -> Iterator[Tx]:
    """A short transaction that others see at once, whatever the caller's own thread has open.

    On SQLite that cannot be once the caller has written to the file: then it is part of the caller's transaction, which
    is logged.
    """
    block, framework = current(), source.enclosing_transaction()
    if framework is None and (block is None or source.dialect != "sqlite"):
        with source.transaction() as tx:
            yield tx
        return
    caller = block.tx if isinstance(block, Direct) else framework
    with ExitStack() as stack:
        yield _on_a_new_connection(source, stack, caller)


def _on_a_new_connection(source: Source, stack: ExitStack, caller: Tx | None) -> Tx:
    """A transaction on a connection that is closed after it: a test's database must be left by everybody."""
    is_sqlite = source.dialect == "sqlite"
    try:
        connection = source.open()
    except ConfigurationError:  # a database in memory has no other connection
        if caller is None:
            raise
        return caller
    stack.callback(connection.close)
    if is_sqlite:
        with connection.statements() as tx:
            tx.script(f"PRAGMA busy_timeout = {WRITER_WAITS_MS}")
    try:
        return stack.enter_context(connection.transaction())
    except source.disconnects:
        if caller is None or not is_sqlite:
            raise
        logger.warning(
            "remote control is part of a transaction that has written to SQLite: workers read it after the COMMIT"
        )
        return caller


def tx_of(transaction: Any) -> Tx:
    """A `Tx` over what the caller holds. Raises as `using` does; for an asynchronous one it names ``async with``."""
    if isinstance(transaction, sqlite3.Connection):
        return sqlite3_tx(transaction)
    kind = _kind_of_psycopg(transaction)
    if kind == "Connection":
        return CallerTx(_connector("psycopg").caller_tx(transaction), lambda: _database_of(transaction))
    if _is_pymysql(transaction):
        return CallerTx(_connector("pymysql").caller_tx(transaction), lambda: _mysql_database_of(transaction))
    if "sqlalchemy" in sys.modules:
        found: Tx | None = _connector("sqlalchemy").caller_tx_or_none(transaction)
        if found is not None:
            return found
    name = f"{type(transaction).__module__}.{type(transaction).__qualname__}"
    if kind == "AsyncConnection" or _collected(transaction) is not None:
        raise ConfigurationError(
            f"A {name} is asynchronous: write `async with mirepoix.using(...)`, not `with`. Inside of "
            "`await session.run_sync(function)` use `with mirepoix.using(...)` on the session that the function gets."
        )
    raise ConfigurationError(
        f"mirepoix.using() cannot join a {name}. It takes an SQLAlchemy Session or Connection, a psycopg, PyMySQL or "
        "sqlite3 connection, and with `async with` an SQLAlchemy AsyncSession or AsyncConnection or a psycopg "
        "AsyncConnection. In Django it is not needed: tasks join the open atomic() block."
    )


@dataclass(slots=True, eq=False)
class _Block:
    open_block: OpenBlock
    outer: _Block | None
    is_open: bool = True


_blocks: ContextVar[_Block | None] = ContextVar("mirepoix_transaction", default=None)


def _innermost() -> _Block | None:
    block = _blocks.get()
    while block is not None and not block.is_open:
        block = block.outer
    return block


def _open(open_block: OpenBlock) -> _Block:
    block = _Block(open_block, _innermost())
    _blocks.set(block)
    return block


def _close(block: _Block) -> OpenBlock:
    # Not by a token: frameworks enter and leave generator dependencies in different contexts, where a token is refused.
    block.is_open = False
    if _blocks.get() is block:
        _blocks.set(block.outer)
    return block.open_block


def _direct(transaction: Any) -> Direct:
    tx = tx_of(transaction)
    after_commit = _connector("sqlalchemy").after_commit_of(transaction) if "sqlalchemy" in sys.modules else None
    return Direct(tx, after_commit)


def _collected(transaction: Any) -> Collected | None:
    # Only a library that is imported already can have made the object.
    found: Collected | None = None
    if _kind_of_psycopg(transaction) == "AsyncConnection":
        found = _connector("psycopg_async").Collector(transaction, lambda: _database_of(transaction))
    elif "sqlalchemy.ext.asyncio" in sys.modules:
        found = _connector("sqlalchemy").collector_or_none(transaction)
    return found


def _connector(module: str) -> Any:
    return import_module(f"mirepoix.connect.{module}")


def _kind_of_psycopg(transaction: Any) -> str | None:
    for base in type(transaction).__mro__:
        if base.__module__.partition(".")[0] == "psycopg" and base.__name__ in ("Connection", "AsyncConnection"):
            return base.__name__
    return None


def _is_pymysql(transaction: Any) -> bool:
    return any(
        base.__module__.partition(".")[0] == "pymysql" and base.__name__ == "Connection"
        for base in type(transaction).__mro__
    )


def _mysql_database_of(connection: Any) -> str:
    def name(value: bytes | str | None) -> str:
        return value.decode() if isinstance(value, bytes) else value or ""

    return f"mysql://{name(connection.user)}@{connection.host}:{connection.port}/{name(connection.db)}"


def _database_of(connection: Any) -> str:
    info = connection.info
    return f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}"
