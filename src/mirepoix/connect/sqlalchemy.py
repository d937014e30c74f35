"""Join an SQLAlchemy transaction: a Session, scoped_session or Connection, and their asynchronous forms.

The statements run through SQLAlchemy's own ``execute``, which knows the driver and its placeholders. An Engine is never
built on a caller's DB-API connection: rows then survived a rollback or were lost with a commit (measured).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, TextClause, event, text
from sqlalchemy.exc import InterfaceError, OperationalError, UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from mirepoix.connect import ambient, private
from mirepoix.connect.caller import CallerTx
from mirepoix.connect.perform import Answer, perform
from mirepoix.connect.task_transaction import ENDED_BY_ITSELF
from mirepoix.errors import ConfigurationError, UnsupportedDatabase
from mirepoix.ledger import outgoing
from mirepoix.ledger.tx import Tx
from mirepoix.records import Outgoing
from mirepoix.sql import DIALECTS, spell, steps
from mirepoix.sql.columns import Row, columns, row_class

PASSING: tuple[type[Exception], ...] = (OperationalError, InterfaceError)
"""SQLAlchemy wraps any driver's conflicts and lost connections in these."""


class SqlalchemyTx:
    """A `Tx` over the connection that *connect* returns. It never begins, commits or rolls back."""

    __slots__ = ("_connect", "dialect")

    def __init__(self, connect: Callable[[], Connection], dialect: str) -> None:
        self._connect = connect
        self.dialect = dialect

    def run(self, statement: str, /, **params: Any) -> int:
        return self._perform(statement, params).rowcount

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        return self._perform(statement, params).rows

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        rows = self._connect().execute(text(spell(sql, self.dialect)), params)
        return row_class(columns(sql)).all(rows.tuples())

    def script(self, sql: str, /) -> None:
        """Run the statements of a script one by one."""
        for statement in spell(sql, self.dialect).split(";\n"):
            if statement.strip():
                self._connect().exec_driver_sql(statement)

    def _perform(self, statement: str, params: dict[str, Any]) -> Answer:
        return perform(steps(statement, self.dialect, "named"), self._execute, params)

    def _execute(self, sql: str, params: dict[str, Any]) -> tuple[int, list[tuple[Any, ...]] | None]:
        result = self._connect().execute(_text(sql), params)
        return result.rowcount, [tuple(row) for row in result] if result.returns_rows else None


def caller_tx(caller: Session | scoped_session[Any] | Connection) -> Tx:
    """Return a `Tx` over *caller*, in its open transaction or the one that SQLAlchemy begins.

    Raises UnsupportedDatabase.
    """
    if isinstance(caller, Connection):
        return _tx(lambda: caller, caller.engine)
    # Use the Session's own connection for this transaction. It triggers no autoflush and no ORM event of the caller.
    return _tx(caller.connection, _engine_of(caller))


def begin(factory: Callable[[], Any]) -> SessionTaskTransaction | ConnectionTaskTransaction:
    """Begin a transaction for a task on the object that *factory* makes: an Engine, a sessionmaker, a scoped_session.

    Raises ConfigurationError for anything else.
    """
    if isinstance(factory, Engine):
        return ConnectionTaskTransaction(factory.connect())
    if isinstance(factory, scoped_session):
        return SessionTaskTransaction(*_in_scope(factory))
    made = factory()
    if isinstance(made, Connection):
        return ConnectionTaskTransaction(made)
    if isinstance(made, Session):
        return SessionTaskTransaction(made, made.close)
    raise ConfigurationError(
        f"mirepoix.install(session_factory=...) made a {type(made).__qualname__}. It takes an SQLAlchemy Engine, a "
        "sessionmaker or a scoped_session."
    )


def _in_scope(scope: scoped_session[Any]) -> tuple[Session, Callable[[], None]]:
    """Return a new Session, and make it the scope's until it ends. The scope's earlier Session may be in use."""
    registry = scope.registry
    before = registry() if registry.has() else None
    session = scope.session_factory()
    registry.set(session)

    def end() -> None:
        try:
            session.close()
        finally:
            registry.clear() if before is None else registry.set(before)

    return session, end


class SessionTaskTransaction:
    """The transaction of a Session."""

    def __init__(self, session: Session, close: Callable[[], object]) -> None:
        self.handle = session
        self._close = close
        self._is_ours = False
        event.listen(session, "before_commit", self._refuse)
        try:
            self.tx = caller_tx(session)
            self._transaction = session.begin()
            _require_transaction(session.connection())
        except BaseException:
            self.roll_back()
            raise

    def as_current(self) -> AbstractContextManager[None]:
        return ambient.as_current(self.tx)

    def prepare(self) -> None:
        """Flush, so that the database refuses values before the outcome is recorded."""
        if self.handle.get_transaction() is not self._transaction:
            raise ConfigurationError(ENDED_BY_ITSELF)
        self.handle.flush()

    def commit(self) -> None:
        self._is_ours = True
        self.handle.commit()
        self._end()

    def roll_back(self) -> None:
        with contextlib.suppress(Exception):
            self.handle.rollback()
        with contextlib.suppress(Exception):
            self._end()

    def _end(self) -> None:
        event.remove(self.handle, "before_commit", self._refuse)
        self._close()

    def _refuse(self, session: Session) -> None:
        if not self._is_ours and not session.in_nested_transaction():
            raise ConfigurationError(ENDED_BY_ITSELF)


class ConnectionTaskTransaction:
    """The transaction of a Connection."""

    def __init__(self, connection: Connection) -> None:
        self.handle = connection
        self._is_ours = False
        try:
            self.tx = caller_tx(connection)
            self._transaction = connection.begin()
            _require_transaction(connection)
            event.listen(connection, "commit", self._refuse)
        except BaseException:
            self.roll_back()
            raise

    def as_current(self) -> AbstractContextManager[None]:
        return ambient.as_current(self.tx)

    def prepare(self) -> None:
        """Check that user code has left the transaction open."""
        if not self._transaction.is_active:
            raise ConfigurationError(ENDED_BY_ITSELF)

    def commit(self) -> None:
        self._is_ours = True
        self._transaction.commit()
        self.handle.close()

    def roll_back(self) -> None:
        with contextlib.suppress(Exception):
            # Roll back through the driver: SQLAlchemy assumes that a transaction with a refused commit has ended.
            self.handle.connection.rollback()
        with contextlib.suppress(Exception):
            self.handle.close()

    def _refuse(self, _connection: Connection) -> None:
        if not self._is_ours:
            raise ConfigurationError(ENDED_BY_ITSELF)


def _require_transaction(connection: Connection) -> None:
    if private.is_autocommit(connection):
        raise ConfigurationError(
            'The engine of mirepoix.install(session_factory=...) has isolation_level="AUTOCOMMIT": what a task writes '
            "would be committed at once, even if the task fails. Give it an engine without AUTOCOMMIT."
        )


def caller_tx_or_none(caller: Any) -> Tx | None:
    """Return the same as `caller_tx`, or None if *caller* is another object."""
    return caller_tx(caller) if isinstance(caller, Session | scoped_session | Connection) else None


def collector_or_none(caller: Any) -> Collector | None:
    """Return a collector for an AsyncSession, async_scoped_session or AsyncConnection, or None for anything else."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(caller, async_scoped_session):
        caller = caller()
    if isinstance(caller, AsyncSession):
        return Collector(caller, caller.sync_session)
    if isinstance(caller, AsyncConnection):
        if caller.sync_connection is None:
            raise ConfigurationError("The AsyncConnection is not open yet: use `async with engine.connect() as ...`.")
        return Collector(caller, caller.sync_connection)
    return None


class Collector:
    """Collects envelopes for an asynchronous transaction until they can be written in it.

    Envelopes belong to the innermost transaction or savepoint that was open when they were added. They are written when
    the block ends. They are written earlier if the transaction or savepoint commits, or if another savepoint begins in
    it. A rollback drops them. So a task commits or rolls back like a row that the caller would have inserted in its
    place.
    """

    def __init__(self, caller: Any, sync: Session | Connection) -> None:
        self._caller = caller
        self.dialect = caller_tx(sync).dialect
        self._sync = sync
        self._waiting = _waiting_of(sync)

    def add(self, envelopes: Sequence[Outgoing], /) -> None:
        """Collect *envelopes* until they can be written."""
        self._waiting.extend(envelopes)

    def after_commit(self, act: Callable[[], None], /) -> bool:
        """Call *act* after the commit, if the caller is a session."""
        found = after_commit_of(self._sync)
        return found is not None and found(act)

    async def write(self) -> None:
        """Write the collected envelopes in the open transaction."""
        if self._waiting:
            await self._caller.run_sync(lambda sync: _write(caller_tx(sync), self._waiting))

    def abandon(self) -> None:
        """Leave the envelopes to the transaction: its commit still writes them, and its rollback drops them."""


def after_commit_of(caller: Any) -> Callable[[Callable[[], None]], bool] | None:
    """Return a function that registers another for after a Session's commit. None for a Connection."""
    session = caller() if isinstance(caller, scoped_session) else caller
    if not isinstance(session, Session):
        return None

    def register(act: Callable[[], None]) -> bool:
        _acts_of(session).append((session.get_nested_transaction(), act))
        return True

    return register


_Acts = list[tuple[SessionTransaction | None, Callable[[], None]]]

_acts: WeakKeyDictionary[Session, _Acts] = WeakKeyDictionary()
"""The functions to call after the commit of each such session, with the savepoint that each belongs to."""


def _acts_of(session: Session) -> _Acts:
    acts = _acts.get(session)
    if acts is None:
        acts = _acts[session] = []
        mine = acts

        def act(session: Session) -> None:
            if session.in_nested_transaction():  # a savepoint was released
                return
            due, mine[:] = mine.copy(), []
            for _, act_after in due:
                act_after()

        def drop(_session: Session, rolled_back: SessionTransaction) -> None:
            mine[:] = [entry for entry in mine if not _is_within(entry[0], rolled_back)]

        def drop_at_end(_session: Session, ended: SessionTransaction) -> None:
            if ended.parent is None:
                mine.clear()

        event.listen(session, "after_commit", act)
        event.listen(session, "after_soft_rollback", drop)
        event.listen(session, "after_transaction_end", drop_at_end)
    return acts


def _is_within(savepoint: SessionTransaction | None, outer: SessionTransaction) -> bool:
    """Whether *savepoint* is *outer*, or began inside it, released or not."""
    while savepoint is not None and savepoint is not outer:
        savepoint = savepoint.parent
    return savepoint is outer


_waiting: WeakKeyDictionary[Session | Connection, list[Outgoing]] = WeakKeyDictionary()
"""The envelopes that are not written yet, of every such session and connection. Listeners cannot be removed from a
Connection, so each gets them once."""


def _waiting_of(sync: Session | Connection) -> list[Outgoing]:
    waiting = _waiting.get(sync)
    if waiting is None:
        waiting = _waiting[sync] = []
        if isinstance(sync, Session):
            _listen_to_session(sync, waiting)
        else:
            _listen_to_connection(sync, waiting)
    return waiting


def _listen_to_session(session: Session, waiting: list[Outgoing]) -> None:
    def write(session: Session) -> None:
        _write(caller_tx(session), waiting)

    def write_before_savepoint(session: Session, transaction: SessionTransaction) -> None:
        if transaction.nested and transaction.parent is not None and waiting:
            # SAVEPOINT itself is emitted with the first statement inside it. Until then the parent's connection
            # applies.
            connection = transaction.parent.connection(None)
            _write(_tx(lambda: connection, _engine_of(session)), waiting)

    def drop(_session: Session, _rolled_back: SessionTransaction) -> None:
        waiting.clear()

    def drop_at_end(_session: Session, ended: SessionTransaction) -> None:
        # A close without a commit is also a rollback, but has no event of its own.
        if ended.parent is None:
            waiting.clear()

    event.listen(session, "before_commit", write)
    event.listen(session, "after_transaction_create", write_before_savepoint)
    event.listen(session, "after_soft_rollback", drop)
    event.listen(session, "after_transaction_end", drop_at_end)


def _listen_to_connection(connection: Connection, waiting: list[Outgoing]) -> None:
    def write(connection: Connection, *_: Any) -> None:
        _write(caller_tx(connection), waiting)

    def drop(*_: Any) -> None:
        waiting.clear()

    for name in ("savepoint", "release_savepoint", "commit", "prepare_twophase"):
        event.listen(connection, name, write)
    for name in ("rollback_savepoint", "rollback", "rollback_twophase"):
        event.listen(connection, name, drop)


def _write(tx: Tx, waiting: list[Outgoing]) -> None:
    if waiting:
        envelopes = waiting.copy()
        waiting.clear()
        outgoing.add(tx, envelopes)


def _engine_of(session: Session | scoped_session[Any]) -> Engine:
    try:
        bind = session.get_bind()
    except UnboundExecutionError as error:
        raise ConfigurationError(
            "This Session has several databases and no default: pass the connection that is meant, "
            "`mirepoix.using(session.connection(bind_arguments={'mapper': YourModel}))`."
        ) from error
    return bind.engine


def _tx(connect: Callable[[], Connection], engine: Engine) -> Tx:
    dialect = _NAMES.get(engine.dialect.name, engine.dialect.name)
    if dialect not in DIALECTS:
        raise UnsupportedDatabase(f"{dialect}:// (SQLAlchemy)")
    return CallerTx(SqlalchemyTx(connect, dialect), lambda: engine.url.render_as_string(hide_password=True))


_NAMES = {"mariadb": "mysql"}
"""Dialects that have another name in SQLAlchemy."""


@cache
def _text(sql: str) -> TextClause:
    return text(sql)
