"""The caller's transaction, as ``with mirepoix.using(session):`` sets it.

A task that is sent belongs to the innermost open block::

    with mirepoix.using(session):            with             -> each task becomes a row at once      (`Direct`)
    async with mirepoix.using(session):      async with       -> rows are written when the block ends (`Collected`)

A context variable holds the blocks, so other threads and concurrent coroutines do not see them. A thread with a copied
context, or an asyncio task, may outlive the block in which it was started. It is outside the block from the moment that
the block ends.
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
"""How long a sender of remote control waits for SQLite's other writers. One of them may be its own transaction."""


class OpenBlock(Protocol):
    """The transaction to which sent tasks currently belong."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        """Make the envelopes part of the transaction: its COMMIT makes them real, and its ROLLBACK drops them."""

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Call *act* after the commit, and never after a rollback. Returns False if commits are not reported."""


@runtime_checkable
class Collected(OpenBlock, Protocol):
    """An asynchronous transaction. `add` cannot await, so it collects the envelopes, and `write` writes them."""

    async def write(self) -> None:
        """Write the collected envelopes. Called when the block ends without an exception."""

    def abandon(self) -> None:
        """Handle an exception that ended the block. If SQLAlchemy reports the commit, the transaction decides."""


class Direct:
    """A synchronous transaction. Each envelope becomes a row at once."""

    __slots__ = ("_after_commit", "dialect", "tx")

    def __init__(self, tx: Tx, after_commit: Callable[[Callable[[], None]], bool] | None = None) -> None:
        self.tx = tx
        self.dialect = tx.dialect
        self._after_commit = after_commit

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        outgoing.add(self.tx, envelopes)

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Call *act* after the commit, if SQLAlchemy's Session reports it."""
        return self._after_commit is not None and self._after_commit(act)


class using:  # noqa: N801, it reads as the statement it makes
    """Make every task that is sent inside the block part of *transaction*: it is sent only if the transaction commits.

    ``with`` takes an SQLAlchemy ``Session``, ``scoped_session`` or ``Connection``, or a psycopg, PyMySQL or
    ``sqlite3.Connection``. ``async with`` takes those, and SQLAlchemy's ``AsyncSession`` and ``AsyncConnection`` and
    psycopg's ``AsyncConnection``. The rows of an asynchronous transaction are written when the block ends. With
    SQLAlchemy they are also written before a savepoint begins and before a commit.

    The caller begins, commits and rolls back; the block does not. Blocks nest, and the innermost counts. Raises
    ConfigurationError for anything else, and UnsupportedDatabase for a database that Mirepoix does not support.
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
    """Return the transaction to which sent tasks currently belong, or None."""
    block = _innermost()
    return block.open_block if block else None


@contextmanager
def as_current(tx: Tx) -> Iterator[None]:
    """Make everything that is sent inside the block part of *tx*."""
    block = _open(Direct(tx))
    try:
        yield
    finally:
        _close(block)


def independent_transaction(source: Source) -> AbstractContextManager[Tx]:
    """Open a short transaction that commits independently of the enclosing transaction.

    On SQLite it is part of the enclosing transaction, because a second writer would wait for its own thread for ever.
    """
    block = current()
    if source.dialect == "sqlite" and isinstance(block, Direct):
        return nullcontext(block.tx)
    return source.independent_transaction()


@contextmanager
def outside(source: Source) -> Iterator[Tx]:
    """Open a short transaction that others see at once, independently of the caller's open transaction.

    If the caller has already written to an SQLite file, that is impossible. Then it is part of the caller's
    transaction, and a log line says so.
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
    """Open a transaction on a new connection, and close it: a test's database must have no connections left."""
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
    """Return a `Tx` over the caller's object. Raises as `using` does, and suggests ``async with`` if it is needed."""
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
            f"A {name} is asynchronous: write `async with mirepoix.using(...)`, not `with`. Inside "
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
    # A token cannot be used: frameworks enter and leave generator dependencies in different contexts, and a token is
    # refused there.
    block.is_open = False
    if _blocks.get() is block:
        _blocks.set(block.outer)
    return block.open_block


def _direct(transaction: Any) -> Direct:
    tx = tx_of(transaction)
    after_commit = _connector("sqlalchemy").after_commit_of(transaction) if "sqlalchemy" in sys.modules else None
    return Direct(tx, after_commit)


def _collected(transaction: Any) -> Collected | None:
    # Only a library that is already imported can have created the object.
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
