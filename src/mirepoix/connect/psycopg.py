"""A ledger in PostgreSQL, through psycopg 3: NOTIFY to wake workers, session advisory locks for who is alive."""

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
from mirepoix.connect.looks import NOTHING, Looks
from mirepoix.connect.pool import Pool
from mirepoix.connect.pooled import PooledSource
from mirepoix.connect.source import LOCK_BOUND_S, LivenessLock, OwnConnection
from mirepoix.connect.task_transaction import OwnTaskTransaction, TaskTransaction
from mirepoix.errors import ConfigurationError, SessionsNotKept
from mirepoix.ledger import workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour

LOCK_NAMESPACE = 1_296_651_877
"""The first half of every advisory lock of ours (the letters MIRE)."""

OLDEST = 130_000
"""PostgreSQL 13."""


WITH_IDLE_SESSIONS = 140_000
"""The first PostgreSQL that may end sessions which are idle."""

WITH_LIMITED_TRANSACTIONS = 170_000
"""The first that may end transactions which take long."""

IDLE_S = 10
"""A transaction of ours whose process says nothing for this long is ended by the server: a process that was stopped
amid it (SIGSTOP, a frozen container) would hold its locks, and nobody could take over what it held. It is not for the
transactions of tasks, which wait for whatever the tasks wait for."""

LONGEST_NAME = 63
"""Bytes of a session's name that PostgreSQL keeps."""

KEEP_ALIVE_S = (5, 2, 3)
"""After so many seconds of silence the other end of a connection is asked, again after so many, so many times."""

ANSWER_S = 1.0
"""How much longer than a statement may take its answer is waited for."""

CONNECT_S = 10
"""The longest that a connection with a bound takes to be made."""

LOOK_AGAIN_S = 0.02
"""How often a liveness lock is tried that another session has."""

SECOND_S = 2.0
"""How long a second session is waited for, where the pooler may have none to give."""

FRESH_S = 30.0
"""Nothing on the way drops a connection, without a word to its ends, that was used within this long."""

_SECRET = re.compile(r"([^&=]*(?:pass|secret|scram)[^&=]*)=[^&]*", re.IGNORECASE)
"""Options of a URL that hold secrets: password, sslpassword, oauth_client_secret, scram_client_key."""

_IDLE = psycopg.pq.TransactionStatus.IDLE


class PostgresSource(PooledSource):
    """The ledger in a PostgreSQL database, or a pooler in front of it. Workers need sessions: `require_sessions`."""

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
        """Whether each connection is known to be one session of the server; None: each is asked."""
        self._pool = Pool(self.open, stale=self.disconnects)
        self._begun = Pool(self._open_for_a_task, size=None, stale=self.disconnects)

    def __getstate__(self) -> tuple[str, str]:
        return (self.conninfo, self.label)

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def statement(self) -> AbstractContextManager[Tx]:
        """Without BEGIN and COMMIT, which take longer than the statement, where the connection is known to be there."""
        return self._pool.beginning_with(PostgresConnection.statement)

    def begin(self) -> TaskTransaction:
        """A transaction for a task; user code gets the psycopg connection."""
        return OwnTaskTransaction(self._lend, lambda raw: raw.info.transaction_status != _IDLE, ambient.as_current)

    def _lend(self, stack: ExitStack) -> tuple[psycopg.Connection[Any], Tx]:
        connection, tx = stack.enter_context(self._begun.lent(PostgresConnection.lasting))
        return cast(PostgresConnection, connection).raw, tx

    def open(self, bound_s: float | None = None) -> PostgresConnection:
        """A new connection of our own."""
        return PostgresConnection(
            self.conninfo, self.label, idle_s=IDLE_S, bound_s=bound_s, has_session=self._has_sessions
        )

    def work_at(self, url: str) -> None:
        """Use the database at *url* from now on: the same one, without the pooler."""
        self.close()
        self.conninfo = f"postgresql://{url.partition('://')[2]}"
        self.label, self._has_sessions = without_password(self.conninfo), None

    def name_sessions(self, name: str) -> None:
        """Call its sessions ``mirepoix NAME``, unless the URL says something else."""
        if "application_name" not in conninfo_to_dict(self.conninfo):
            said = f"mirepoix {name}".encode()[:LONGEST_NAME].decode(errors="ignore")
            self.conninfo = make_conninfo(self.conninfo, application_name=said)

    def require_sessions(self) -> None:
        """Raise ConfigurationError, naming the remedy, if a pooler gives each transaction another session.

        A connection to the server itself, or through a plain TCP proxy, tells so: the server and what the connection
        was told when it was made name the same session. A pooler hides that; so two connections compare which session
        they have, while one holds its own.
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
            # A pooler that uses first what was given back last has just been given the session of the first.
            with second.transaction():
                return _session_of(second) == own or _session_of(first) != own
        except psycopg.errors.ProtocolViolation:  # no transactions: the session is another for each statement
            return True
        except _NoAnswerError:
            return False  # every session is taken: each belongs to one connection

    def _open_for_a_task(self) -> PostgresConnection:
        return PostgresConnection(self.conninfo, self.label, has_session=self._has_sessions)

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> AdvisoryLock:
        """Take a session lock on a connection that forked children inherit: it lasts until the last of them is gone."""
        session = before.session if isinstance(before, AdvisoryLock) else None
        return AdvisoryLock(self.conninfo, worker_id, liveness_key, bound_s, session)

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """Try the lock of every other live worker; the server frees what was taken with this transaction."""
        with connection.transaction() as tx:
            rows = tx.fetch("unheld_workers", worker_id=worker_id, namespace=LOCK_NAMESPACE)
        return [workers.neighbour(row) for row in rows]


class PostgresConnection:
    """One connection; its transactions are read committed, and may say nothing for *idle_s*, if that is given.

    With *bound_s*, nothing that is asked on it waits longer for an answer.

    Through a pooler the session may be another one in the next transaction, and belong to other programs between them:
    there nothing is prepared, nothing listened to, and settings end with the transaction. *has_session* says that it is
    not so; None: the connection is looked at.
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
        self._connection.add_notify_handler(self._note)
        self._connection.add_notice_handler(self._hear)
        self._is_ended = False
        self._looks = Looks()
        self._news: set[str] = set()
        self._finished: set[str] = set()
        self._used_at = time.monotonic()
        self._tx = DbapiTx(lambda: self._connection.cursor(row_factory=tuple_row), "postgresql", "pyformat")

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The driver's own connection."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """BEGIN … COMMIT."""
        with uninterrupted(), self.lasting() as tx:
            yield tx

    @contextmanager
    def lasting(self) -> Iterator[Tx]:
        """The same for a task, which may take long: signals are handled meanwhile."""
        with self._connection.transaction() if self._begin is None else self._begun(self._begin):
            yield self._tx
        self._used_at = time.monotonic()

    @contextmanager
    def _begun(self, begin: SQL | Composed) -> Iterator[None]:
        """A transaction with its own settings, in as many round trips as one without."""
        try:
            self._connection.execute(begin)
            yield
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                self._connection.rollback()
            raise
        self._connection.commit()

    def statement(self) -> AbstractContextManager[Tx]:
        """For one statement; a transaction if only its BEGIN could tell whether the server is still there.

        Of the settings none matters to a statement that writes tasks, but for the isolation level.
        """
        return self._alone() if self._is_read_committed and self._is_there() else self.transaction()

    def _is_there(self) -> bool:
        if time.monotonic() - self._used_at >= FRESH_S:
            return False
        try:
            self._connection.pgconn.consume_input()  # raises if the server has hung up
            self._connection.pgconn.is_busy()  # hears its last words
        except psycopg.OperationalError:
            return False
        return not self._is_ended

    def _hear(self, said: psycopg.errors.Diagnostic) -> None:
        self._is_ended = self._is_ended or said.severity_nonlocalized == "FATAL"

    def statements(self) -> AbstractContextManager[Tx]:
        """Without BEGIN: each statement is a transaction, in one round trip. Through a pooler one transaction."""
        return self._alone() if self._begin is None else self.transaction()

    @contextmanager
    def _alone(self) -> Iterator[Tx]:
        yield self._tx
        self._used_at = time.monotonic()

    def reading(self) -> AbstractContextManager[Tx]:
        """Readers hold up nobody here: a transaction like any other."""
        return self.transaction()

    def listen(self) -> None:
        """Be told about new tasks and messages from now on. Through a pooler nobody tells: `news` looks."""
        if not self._has_session:
            return
        self._connection.execute("LISTEN mirepoix")
        self._connection.execute("LISTEN mirepoix_message")

    def listen_results(self) -> None:
        """Be told the ids of finished tasks from now on. Through a pooler `finished` says when to look."""
        if not self._has_session:
            self.finished()
            return
        self._connection.execute("LISTEN mirepoix_result")

    def finished(self) -> frozenset[str]:
        """What was notified since the last call. Raises psycopg.OperationalError if the server is gone."""
        if not self._has_session:
            return self._looks.due()
        self._consume()
        finished = frozenset(self._finished)
        self._finished.clear()
        return finished

    def wakeup_fd(self) -> int | None:
        """Readable when a notification arrives."""
        return self._connection.fileno() if self._has_session else None

    @property
    def is_told_early(self) -> bool:
        """A notification comes after the commit."""
        return False

    def news(self) -> frozenset[str]:
        """What was notified since the last call. Raises psycopg.OperationalError if the server is gone."""
        if not self._has_session:
            return ANYTHING if self._looks.due() else NOTHING
        self._consume()
        news = frozenset(self._news)
        self._news.clear()
        return news

    def abort(self) -> None:
        """End the session from another thread: what waits on it raises."""
        with (
            contextlib.suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(self._connection.fileno())) as peer,
        ):
            peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def _consume(self) -> None:
        # A closed socket is readable too: consume_input raises for it, and the worker reconnects.
        self._connection.pgconn.consume_input()
        while notification := self._connection.pgconn.notifies():
            self._heard(notification.relname, notification.extra)

    def _note(self, notification: psycopg.Notify) -> None:
        # Called for what arrives in the answer to another statement.
        self._heard(notification.channel.encode(), notification.payload.encode())

    def _heard(self, channel: bytes, payload: bytes) -> None:
        if channel == b"mirepoix_result":
            self._finished.update(payload.decode().split(","))
        else:
            self._news.add(_TOPICS[channel])


ANYTHING = frozenset({"tasks", "messages"})
_TOPICS = {b"mirepoix": "tasks", b"mirepoix_message": "messages"}


class AdvisoryLock:
    """A session advisory lock on a connection of its own. *before* is the session that held it before."""

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
                time.sleep(LOOK_AGAIN_S)
        except BaseException:
            self.close()
            raise

    def confirm(self) -> None:
        """Note which start of the server the lock was taken under: a restarted one has forgotten it."""
        self._tx.run("note_server", worker_id=self._worker_id)

    def is_held(self) -> bool:
        """False once the server ended the session."""
        try:
            self._connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return not self._connection.closed

    def fileno(self) -> int | None:
        """Readable when the server ends the session, or says something."""
        return self._connection.fileno()

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Each is a transaction by itself."""
        yield self._tx

    def close(self, *, is_over: bool = False) -> None:
        """End the session, and the lock with it."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


def without_password(conninfo: str) -> str:
    """A URL for people."""
    parts = urlsplit(conninfo)
    query = _SECRET.sub(r"\1=***", parts.query)
    user, _, host = parts.netloc.rpartition("@")
    name, has_password, _ = user.partition(":")
    where = f"{name}:***@{host}" if has_password else parts.netloc
    return urlunsplit(parts._replace(netloc=where, query=query))


def caller_tx(connection: psycopg.Connection[Any]) -> Tx:
    """The transaction that is open, or will be opened, on the caller's psycopg connection."""
    return DbapiTx(lambda: _Unprepared(connection, row_factory=tuple_row), "postgresql", "pyformat")


class _Unprepared(psycopg.Cursor[Any]):
    """On the caller's connection nothing of ours is prepared: behind it may be a pooler."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        """As psycopg does it."""
        return super().execute(query, params, prepare=False)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up when an answer stays out: a proxy may hold it open that reaches no server."""

    bound_s: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """As psycopg does it, but no longer than the bound. Raises psycopg.OperationalError."""
        if self.bound_s is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_bounded(gen, self.bound_s + ANSWER_S), *args, **kwargs)
        except _NoAnswerError:
            self.close()
            raise


class _NoAnswerError(psycopg.OperationalError):
    """The server, or what is in front of it, says nothing."""


def _bounded(gen: Any, bound_s: float) -> Generator[Any, Any, Any]:
    """*gen*, which psycopg resumes now and then although nothing has come, ended after *bound_s*."""
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
        # A session whose other end vanished without a word ends after this, whoever waits for whom.
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
    """What the ledger's statements depend on, whatever is the default of the server, the database or the role.

    *bound_s* is for the server too: a statement that nobody waits for any more does not go on.
    """
    session: dict[str, str | float] = {
        "DateStyle": "ISO",  # psycopg reads moments in no other
        "TimeZone": "UTC",
        "default_transaction_isolation": "read committed",
        "statement_timeout": 0,  # a migration takes as long as it takes
        "lock_timeout": 0,
    }
    if bound_s is not None:
        session |= {"statement_timeout": int(bound_s * 1000), "lock_timeout": int(bound_s * 500)}
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        session |= zip(names, KEEP_ALIVE_S, strict=True)
    version = connection.info.server_version
    if version >= WITH_IDLE_SESSIONS:
        session["idle_session_timeout"] = 0  # a worker's session is idle when there is nothing to do
    if version >= WITH_LIMITED_TRANSACTIONS:
        session["transaction_timeout"] = 0
    return session


def _settings(verb: str, session: Mapping[str, str | float]) -> Composed:
    """What sets all of them, in one round trip."""
    one = SQL("SET {} = {}" if verb == "SET" else "SET LOCAL {} = {}")
    return SQL("; ").join(one.format(Identifier(name), Literal(value)) for name, value in session.items())


def _session_of(connection: psycopg.Connection[Any]) -> int:
    ((pid,),) = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return int(pid)


def _is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server says it is in the session that was named when the connection was made."""
    return _session_of(connection) == connection.info.backend_pid
