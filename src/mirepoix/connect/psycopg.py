"""A ledger in PostgreSQL, through psycopg 3. NOTIFY wakes workers, and session advisory locks show which are alive."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from mirepoix.connect import ambient
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.interrupts import uninterrupted
from mirepoix.connect.pool import Pool
from mirepoix.connect.pooled import PooledSource
from mirepoix.connect.result_polling import NOTHING, ResultPolling
from mirepoix.connect.source import LOCK_BOUND_S, LivenessLock, OwnConnection
from mirepoix.connect.task_transaction import OwnTaskTransaction, TaskTransaction
from mirepoix.errors import ConfigurationError, SessionsNotKept
from mirepoix.ledger import workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour

LOCK_NAMESPACE = 1_296_651_877
"""The first half of each of our advisory locks (the letters MIRE)."""

OLDEST = 130_000
"""PostgreSQL 13."""


WITH_IDLE_SESSIONS = 140_000
"""The first PostgreSQL that can end idle sessions."""

WITH_LIMITED_TRANSACTIONS = 170_000
"""The first PostgreSQL that can end long transactions."""

IDLE_S = 10
"""The server ends a transaction of ours if its process sends nothing for this long. A process that was stopped in it
(SIGSTOP, a frozen container) would keep its locks, and no worker could take over its tasks. The limit does not apply to
the transactions of tasks, which may wait."""

LONGEST_NAME = 63
"""PostgreSQL keeps so many bytes of a session's name."""

KEEP_ALIVE_S = (5, 2, 3)
"""TCP keepalive: seconds of silence before the first probe, seconds between probes, and the number of probes."""

ANSWER_S = 1.0
"""How long the answer of a statement may take beyond the statement's own limit."""

CONNECT_S = 10
"""The longest that opening a connection with a bound may take."""

LOCK_RETRY_S = 0.02
"""How often to retry a liveness lock that another session holds."""

SECOND_S = 2.0
"""How long to wait for a second session, which the pooler may not have."""

FRESH_S = 30.0
"""No network component silently drops a connection that was used within this time."""

_SECRET = re.compile(r"([^&=]*(?:pass|secret|scram)[^&=]*)=[^&]*", re.IGNORECASE)
"""Options of a URL with secrets: password, sslpassword, oauth_client_secret, scram_client_key."""

_IDLE = psycopg.pq.TransactionStatus.IDLE


class PostgresSource(PooledSource):
    """The ledger in a PostgreSQL database, or behind a pooler. Workers need sessions; see `require_sessions`."""

    dialect = "postgresql"
    disconnects: tuple[type[Exception], ...] = (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.IdleInTransactionSessionTimeout,
        psycopg.errors.InternalError_,
        psycopg.errors.SnapshotTooOld,
        *((psycopg.errors.TransactionTimeout,) if hasattr(psycopg.errors, "TransactionTimeout") else ()),
    )
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, conninfo: str, label: str | None = None) -> None:
        self.conninfo = conninfo
        self.label = label or without_password(conninfo)
        self._has_sessions: bool | None = None
        """Whether each connection is known to be one session of the server. If it is None, each connection is
        checked."""
        self._pool = Pool(self.open, stale=self.disconnects)
        self._begun = Pool(self._open_for_a_task, size=None, stale=self.disconnects)

    def __getstate__(self) -> tuple[str, str]:
        return (self.conninfo, self.label)

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def statement(self) -> AbstractContextManager[Tx]:
        """Run a statement without BEGIN and COMMIT, which take longer, if the connection is known to be open."""
        return self._pool.beginning_with(PostgresConnection.statement)

    def begin(self) -> TaskTransaction:
        """Begin a transaction for a task. User code gets the psycopg connection."""
        return OwnTaskTransaction(self._lend, lambda raw: raw.info.transaction_status != _IDLE, ambient.as_current)

    def _lend(self, stack: ExitStack) -> tuple[psycopg.Connection[Any], Tx]:
        connection, tx = stack.enter_context(self._begun.lent(PostgresConnection.lasting))
        return cast(PostgresConnection, connection).raw, tx

    def open(self, bound_s: float | None = None) -> PostgresConnection:
        return PostgresConnection(
            self.conninfo, self.label, idle_s=IDLE_S, bound_s=bound_s, has_session=self._has_sessions
        )

    def work_at(self, url: str) -> None:
        """Use the database at *url*, which is the same database without the pooler."""
        self.close()
        self.conninfo = f"postgresql://{url.partition('://')[2]}"
        self.label, self._has_sessions = without_password(self.conninfo), None

    def name_sessions(self, name: str) -> None:
        """Name the sessions ``mirepoix NAME``, unless the URL names them."""
        if "application_name" not in conninfo_to_dict(self.conninfo):
            said = f"mirepoix {name}".encode()[:LONGEST_NAME].decode(errors="ignore")
            self.conninfo = make_conninfo(self.conninfo, application_name=said)

    def require_sessions(self) -> None:
        """Raise ConfigurationError, with the remedy, if a pooler gives each transaction another session.

        On a direct connection, or through a plain TCP proxy, the server and the connection's start-up message name the
        same session. A pooler hides that. Then two connections compare their sessions while one holds its session.
        """
        with ExitStack() as stack:
            first = stack.enter_context(_connect(self.conninfo, LOCK_BOUND_S))
            if not _is_direct(first) and self._is_shared(first, stack):
                raise SessionsNotKept(self.label)
        self._has_sessions = True

    def _is_shared(self, first: psycopg.Connection[Any], stack: ExitStack) -> bool:
        own = _session_of(first)
        if _session_of(first) != own:  # a pooler that uses its sessions in turn
            return True
        try:
            second = stack.enter_context(_connect(self.conninfo, SECOND_S))
            # A pooler that prefers the last returned session has now given the session of the first connection.
            with second.transaction():
                return _session_of(second) == own or _session_of(first) != own
        except psycopg.errors.ProtocolViolation:  # no transactions: each statement gets another session
            return True
        except _NoAnswerError:
            return False  # all sessions are taken, so each belongs to one connection

    def _open_for_a_task(self) -> PostgresConnection:
        return PostgresConnection(self.conninfo, self.label, has_session=self._has_sessions)

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> AdvisoryLock:
        """Take a session lock on a connection that forked children inherit. It lasts until the last of them is gone."""
        session = before.session if isinstance(before, AdvisoryLock) else None
        return AdvisoryLock(self.conninfo, worker_id, liveness_key, bound_s, session)

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """Try the lock of every other live worker. The server releases acquired locks with this transaction."""
        with connection.transaction() as tx:
            rows = tx.fetch("unheld_workers", worker_id=worker_id, namespace=LOCK_NAMESPACE)
        return [workers.neighbour(row) for row in rows]


class PostgresConnection:
    """A connection. Its transactions are read committed, and end if they send nothing for *idle_s*, if that is given.

    With *bound_s*, every answer is waited for at most so long.

    Through a pooler each transaction may get another session, which other programs use in between. There nothing is
    prepared, nothing listens, and settings end with the transaction. *has_session* says that there is no pooler. If it
    is None, the connection is checked.
    """

    def __init__(
        self,
        conninfo: str,
        label: str,
        *,
        idle_s: float | None = None,
        bound_s: float | None = None,
        has_session: bool | None = None,
    ) -> None:
        self._connection = _connect(conninfo, bound_s)
        self._begin: SQL | Composed | None = None
        self._has_session = True
        self._is_read_committed = True
        try:
            _require(self._connection, label)
            self._has_session = has_session or _is_direct(self._connection)
            if not self._has_session:
                self._connection.prepare_threshold = None
            if idle_s is not None:
                session = _session(self._connection, bound_s)
                session["idle_in_transaction_session_timeout"] = idle_s * 1000
                if self._has_session:
                    self._connection.execute(_settings("SET", session))
                else:
                    isolation = self._connection.execute("SHOW default_transaction_isolation").fetchone()
                    self._is_read_committed = isolation == ("read committed",)
                    begin = SQL("BEGIN ISOLATION LEVEL READ COMMITTED; ")
                    of_session = ("default_transaction_isolation", "idle_session_timeout")
                    local = {name: session[name] for name in session if not name.startswith(("tcp_", *of_session))}
                    self._begin = begin + _settings("SET LOCAL", local)
        except BaseException:
            self._connection.close()
            raise
        self._connection.add_notify_handler(self._on_notify)
        self._connection.add_notice_handler(self._on_notice)
        self._is_ended = False
        self._result_polling = ResultPolling()
        self._news: set[str] = set()
        self._finished: set[str] = set()
        self._used_at = time.monotonic()
        self._tx = DbapiTx(lambda: self._connection.cursor(row_factory=tuple_row), "postgresql", "pyformat")

    @property
    def raw(self) -> psycopg.Connection[Any]:
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        with uninterrupted(), self.lasting() as tx:
            yield tx

    @contextmanager
    def lasting(self) -> Iterator[Tx]:
        """Open a transaction for a task, which may take long. Signals are handled meanwhile."""
        with self._connection.transaction() if self._begin is None else self._begun(self._begin):
            yield self._tx
        self._used_at = time.monotonic()

    @contextmanager
    def _begun(self, begin: SQL | Composed) -> Iterator[None]:
        """Open a transaction with its own settings, without extra round trips."""
        try:
            self._connection.execute(begin)
            yield
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                self._connection.rollback()
            raise
        self._connection.commit()

    def statement(self) -> AbstractContextManager[Tx]:
        """Run one statement, in a transaction if only BEGIN could show whether the server is still there.

        A statement that writes tasks does not depend on the settings, except the isolation level.
        """
        return self._alone() if self._is_read_committed and self._is_there() else self.transaction()

    def _is_there(self) -> bool:
        if time.monotonic() - self._used_at >= FRESH_S:
            return False
        try:
            self._connection.pgconn.consume_input()  # raises if the server has closed the connection
            self._connection.pgconn.is_busy()  # reads the server's last message
        except psycopg.OperationalError:
            return False
        return not self._is_ended

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self._is_ended = self._is_ended or notice.severity_nonlocalized == "FATAL"

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Run statements without BEGIN: each is a transaction, in one round trip. A pooler makes them one."""
        with uninterrupted(), self._alone() if self._begin is None else self.lasting() as tx:
            yield tx

    @contextmanager
    def _alone(self) -> Iterator[Tx]:
        yield self._tx
        self._used_at = time.monotonic()

    def reading(self) -> AbstractContextManager[Tx]:
        """Open a transaction. In PostgreSQL readers do not block writers."""
        return self.transaction()

    def listen(self) -> None:
        """Listen for new tasks and messages. A pooler passes on no notifications; there `news` looks."""
        if not self._has_session:
            return
        self._connection.execute("LISTEN mirepoix")
        self._connection.execute("LISTEN mirepoix_message")

    def listen_results(self) -> None:
        """Listen for ids of finished tasks. A pooler passes on no notifications; there `finished` says when to look."""
        if not self._has_session:
            self.finished()
            return
        self._connection.execute("LISTEN mirepoix_result")

    def finished(self) -> frozenset[str]:
        """Return the ids notified since the last call. Raises psycopg.OperationalError if the server is gone."""
        if not self._has_session:
            return self._result_polling.due()
        self._consume()
        finished = frozenset(self._finished)
        self._finished.clear()
        return finished

    def wakeup_fd(self) -> int | None:
        """A descriptor that is readable when a notification arrives."""
        return self._connection.fileno() if self._has_session else None

    @property
    def is_told_early(self) -> bool:
        """False: a notification arrives after the commit."""
        return False

    @property
    def has_notified(self) -> bool:
        """Whether a notification came with the answer to a statement, so that nothing is left to read."""
        return bool(self._news or self._finished)

    def news(self) -> frozenset[str]:
        """Return what was notified since the last call. Raises psycopg.OperationalError if the server is gone."""
        if not self._has_session:
            return ANYTHING if self._result_polling.due() else NOTHING
        self._consume()
        news = frozenset(self._news)
        self._news.clear()
        return news

    def abort(self) -> None:
        with (
            contextlib.suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(self._connection.fileno())) as peer,
        ):
            peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def _consume(self) -> None:
        # A closed socket is readable too: consume_input raises for it, and the worker reconnects.
        self._connection.pgconn.consume_input()
        while notification := self._connection.pgconn.notifies():
            self._record_notification(notification.relname, notification.extra)

    def _on_notify(self, notification: psycopg.Notify) -> None:
        # Called for notifications that arrive with the answer to another statement.
        self._record_notification(notification.channel.encode(), notification.payload.encode())

    def _record_notification(self, channel: bytes, payload: bytes) -> None:
        if channel == b"mirepoix_result":
            self._finished.update(payload.decode().split(","))
        else:
            self._news.add(_TOPICS[channel])


ANYTHING = frozenset({"tasks", "messages"})
_TOPICS = {b"mirepoix": "tasks", b"mirepoix_message": "messages"}


class AdvisoryLock:
    """A session advisory lock on its own connection. *before* is the session that held the lock before."""

    def __init__(
        self, conninfo: str, worker_id: str, liveness_key: int, bound_s: float, before: int | None = None
    ) -> None:
        self._connection = _connect(conninfo, bound_s)
        self._worker_id = worker_id
        self._tx = DbapiTx(self._connection.cursor, "postgresql", "pyformat")
        lock = {"namespace": LOCK_NAMESPACE, "liveness_key": liveness_key}
        until = time.monotonic() + bound_s
        try:
            self._connection.execute(_settings("SET", _session(self._connection, bound_s)))
            while True:
                (answer,) = self._tx.fetch("hold_liveness", **lock)
                self.session = answer.session_id
                if answer.is_held:
                    break
                if time.monotonic() > until:
                    raise psycopg.OperationalError(f"the liveness lock of {worker_id} is held by another session")
                if before is not None:
                    self._tx.fetch("end_liveness", session=before, **lock)
                time.sleep(LOCK_RETRY_S)
        except BaseException:
            self.close()
            raise

    def confirm(self) -> None:
        """Record the server's start under which the lock was taken. A restarted server has lost the lock."""
        self._tx.run("note_server", worker_id=self._worker_id)

    def is_held(self) -> bool:
        """Whether the session still exists."""
        try:
            self._connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return not self._connection.closed

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when the server ends the session or sends something."""
        return self._connection.fileno()

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Run statements that are transactions by themselves."""
        yield self._tx

    def close(self, *, is_over: bool = False) -> None:
        """End the session, and with it the lock."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


def without_password(conninfo: str) -> str:
    """Return the URL without its password, for people."""
    parts = urlsplit(conninfo)
    query = _SECRET.sub(r"\1=***", parts.query)
    user, _, host = parts.netloc.rpartition("@")
    name, has_password, _ = user.partition(":")
    where = f"{name}:***@{host}" if has_password else parts.netloc
    return urlunsplit(parts._replace(netloc=where, query=query))


def caller_tx(connection: psycopg.Connection[Any]) -> Tx:
    """Return a `Tx` over the caller's psycopg connection, in its open transaction or the one that the driver begins."""
    return DbapiTx(lambda: _Unprepared(connection, row_factory=tuple_row), "postgresql", "pyformat")


class _Unprepared(psycopg.Cursor[Any]):
    """A cursor that prepares nothing, because a pooler may be behind the caller's connection."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        return super().execute(query, params, prepare=False)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up if an answer does not arrive. A proxy may keep it open without a server."""

    bound_s: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait as psycopg does, but at most for the bound. Raises psycopg.OperationalError."""
        if self.bound_s is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_bounded(gen, self.bound_s + ANSWER_S), *args, **kwargs)
        except _NoAnswerError:
            self.close()
            raise


class _NoAnswerError(psycopg.OperationalError):
    """The server, or a proxy in front of it, does not answer."""


def _bounded(gen: Any, bound_s: float) -> Generator[Any, Any, Any]:
    """Run *gen*, which psycopg resumes regularly while nothing arrives, and end it after *bound_s*."""
    until = time.monotonic() + bound_s
    try:
        wants = next(gen)
        while True:
            ready = yield wants
            if not ready and time.monotonic() > until:
                raise _NoAnswerError(f"the server has not answered for {bound_s:g} s")
            wants = gen.send(ready)
    except StopIteration as ended:
        return ended.value


def _connect(conninfo: str, bound_s: float | None = None) -> BoundedConnection:
    options: dict[str, Any] = {}
    if bound_s is not None:
        options["connect_timeout"] = max(2, min(math.ceil(bound_s), CONNECT_S))
    connection = BoundedConnection.connect(
        conninfo,
        autocommit=True,
        application_name=conninfo_to_dict(conninfo).get("application_name", "mirepoix"),
        client_encoding="utf8",
        # A session ends after this if its other end vanished without closing the connection, whichever side waits.
        keepalives_idle=KEEP_ALIVE_S[0],
        keepalives_interval=KEEP_ALIVE_S[1],
        keepalives_count=KEEP_ALIVE_S[2],
        tcp_user_timeout=sum(KEEP_ALIVE_S[:2]) * 1000,
        **options,
    )
    connection.bound_s = bound_s
    return connection


def _require(connection: psycopg.Connection[Any], label: str) -> None:
    if connection.info.server_version < OLDEST:
        version = connection.info.server_version // 10_000
        raise ConfigurationError(f"{label} is PostgreSQL {version}; the ledger needs 13 or newer.")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"The database of {label} has the encoding {encoding}, which cannot hold every text; the ledger needs "
            "UTF8. Make another: createdb --encoding UTF8 --template template0 NAME."
        )


def _session(connection: psycopg.Connection[Any], bound_s: float | None = None) -> dict[str, str | float]:
    """Return the settings that the ledger's statements need, independently of defaults of server, database and role.

    *bound_s* also limits statements on the server, so a statement does not continue after its client has given up.
    """
    session: dict[str, str | float] = {
        "DateStyle": "ISO",  # psycopg reads no other format of moments
        "TimeZone": "UTC",
        "default_transaction_isolation": "read committed",
        "statement_timeout": 0,  # a migration may take long
        "lock_timeout": 0,
    }
    if bound_s is not None:
        session |= {"statement_timeout": int(bound_s * 1000), "lock_timeout": int(bound_s * 500)}
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        session |= zip(names, KEEP_ALIVE_S, strict=True)
    version = connection.info.server_version
    if version >= WITH_IDLE_SESSIONS:
        session["idle_session_timeout"] = 0  # a worker's session is idle if there are no tasks
    if version >= WITH_LIMITED_TRANSACTIONS:
        session["transaction_timeout"] = 0
    return session


def _settings(verb: str, session: Mapping[str, str | float]) -> Composed:
    """Return SQL that makes all settings in one round trip."""
    setting = SQL("SET {} = {}" if verb == "SET" else "SET LOCAL {} = {}")
    return SQL("; ").join(setting.format(Identifier(name), Literal(value)) for name, value in session.items())


def _session_of(connection: psycopg.Connection[Any]) -> int:
    ((pid,),) = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return int(pid)


def _is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server names the session that the connection's start-up message named."""
    return _session_of(connection) == connection.info.backend_pid
