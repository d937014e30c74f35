"""A ledger in MariaDB or MySQL, through PyMySQL. Workers poll for tasks, and GET_LOCK shows which are alive."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT, SERVER_STATUS

from mirepoix.connect import ambient, mysql_codes, private
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.interrupts import uninterrupted
from mirepoix.connect.pool import Pool
from mirepoix.connect.pooled import PooledSource
from mirepoix.connect.result_polling import ResultPolling
from mirepoix.connect.source import LOCK_BOUND_S, LivenessLock, OwnConnection
from mirepoix.connect.task_transaction import OwnTaskTransaction, TaskTransaction
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour
from mirepoix.sql.columns import Row

T = TypeVar("T")

OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0, 23)}
"""The first versions with JSON_TABLE, SKIP LOCKED, expressions as defaults, and invisible columns."""

SESSION = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    (
        "SET SESSION time_zone = '+00:00',"
        " sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',"
        " sql_safe_updates = 0, sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615,"
        " completion_type = 'NO_CHAIN', sql_auto_is_null = 0"
        "/*M!, max_statement_time = 0 *//*!80000, max_execution_time = 0 */"
    ),
)
"""The settings that the ledger's statements need, independently of the server's defaults."""

IDLE_S = 10
"""MariaDB ends a transaction of ours if its process sends nothing for this long (MySQL has no such limit). A process
that was stopped in it would keep its locks, and no worker could take over its tasks. The limit does not apply to the
transactions of tasks, which may wait."""

LOCK_SESSION = "SET SESSION wait_timeout = 31536000"
"""The session of a liveness lock sends nothing for days. This is the longest timeout that the server allows."""

LOCK_RETRY_S = 0.02
"""How often to retry a liveness lock that another session holds."""

ANSWER_S = 1.0
"""How long the answer of a statement may take beyond the statement's own limit."""

KEEP_ALIVE_S = (5, 2, 3)
"""TCP keepalive: seconds of silence before the first probe, seconds between probes, and the number of probes."""

CLOCKS = frozenset({"now", "time_left"})
"""These answer differently each time and change nothing. A repeated transaction need not ask them again."""

MOST_REPEATS = 5
"""How often a transaction is repeated that the server ended because of a deadlock."""

_YES = frozenset({"1", "true", "yes", "on"})


def _is_yes(word: str) -> bool:
    return word.lower() in _YES


LOOK_FOR_MESSAGES_S = 0.1
"""How often `news` looks for remote control, its replies and events."""

OPTIONS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password"), str),
    **dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), int),
    **dict.fromkeys(("ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"), _is_yes),
}
"""The options that a URL may have after ``?``, in PyMySQL's words."""

_IGNORED = frozenset({"charset", "collation", "use_unicode", "autocommit"})
"""URLs of SQLAlchemy may have these options. The ledger decides them itself."""


class MysqlSource(PooledSource):
    """The ledger in a MariaDB or MySQL database. Locks need a direct connection, or a proxy that keeps sessions."""

    dialect = "mysql"
    disconnects: tuple[type[Exception], ...] = (pymysql.OperationalError, pymysql.InterfaceError)
    errors: tuple[type[Exception], ...] = (pymysql.Error,)

    def __init__(self, params: Mapping[str, Any], label: str | None = None) -> None:
        self.params = dict(params)
        self.label = label or label_of(self.params)
        self._pool = Pool(self.open, stale=self.disconnects, fits=_is_of_this_thread)
        self._begun = Pool(self._open_for_a_task, size=None, stale=self.disconnects, fits=_is_of_this_thread)

    def __getstate__(self) -> tuple[dict[str, Any], str]:
        return (self.params, self.label)

    def __setstate__(self, state: tuple[dict[str, Any], str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def begin(self) -> TaskTransaction:
        """Begin a transaction for a task. User code gets the PyMySQL connection."""
        return OwnTaskTransaction(self._lend, _is_in_transaction, ambient.as_current)

    def _lend(self, stack: ExitStack) -> tuple[pymysql.Connection[Any], Tx]:
        connection, _ = stack.enter_context(self._begun.lent(MysqlConnection.lasting))
        raw = cast(MysqlConnection, connection).raw
        return raw, DbapiTx(raw.cursor, "mysql", "pyformat")

    def open(self, bound_s: float | None = None) -> MysqlConnection:
        return MysqlConnection(self.params, self.label, idle_s=IDLE_S, bound_s=bound_s)

    def _open_for_a_task(self) -> MysqlConnection:
        return MysqlConnection(self.params, self.label)

    def work_at(self, url: str) -> None:
        self.close()
        self.params = params_of(f"//{url.partition('://')[2]}")
        self.label = label_of(self.params)

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> UserLock:
        """Take a named lock on a connection that forked children inherit. It lasts until the last of them is gone."""
        session = before.session if isinstance(before, UserLock) else None
        return UserLock(self.params, worker_id, liveness_key, bound_s, session)

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """Ask the server about the lock of every other live worker."""
        with connection.statements() as tx:
            return [workers.neighbour(row) for row in tx.fetch("unheld_workers", worker_id=worker_id)]


class MysqlConnection:
    """A connection. Its transactions are read committed, and end if they send nothing for *idle_s*, if that is given.

    With *bound_s*, every answer is waited for at most so long.
    """

    def __init__(
        self, params: Mapping[str, Any], label: str, *, idle_s: int | None = None, bound_s: float | None = None
    ) -> None:
        self._connection = _connect(params, bound_s)
        try:
            _require_version(self._connection, label)
            if idle_s is not None and "MariaDB" in self._connection.get_server_info():
                with self._connection.cursor() as cursor:
                    cursor.execute("SET SESSION idle_transaction_timeout = %s", [idle_s])
        except BaseException:
            self.close()
            raise
        self._tx = DbapiTx(self._connection.cursor, "mysql", "pyformat")
        self._queues: str | None = None
        self._first: list[Row] = []
        self._seen: tuple[Any, Any] = (None, None)
        self._next_messages = 0.0
        self._result_polling = ResultPolling()

    @property
    def raw(self) -> pymysql.Connection[Any]:
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction. After a deadlock it is repeated from its start, as long as it gets the same answers."""
        with uninterrupted(), self._begun():
            yield RepeatedTx(self)

    def statements(self) -> AbstractContextManager[Tx]:
        """Open a transaction, because several statements replace RETURNING."""
        return self.transaction()

    @contextmanager
    def lasting(self) -> Iterator[Tx]:
        """Open a transaction that is never repeated, because user code writes in it too."""
        with self._begun():
            yield self._tx

    def reading(self) -> AbstractContextManager[Tx]:
        """Open a transaction. Readers do not block writers here."""
        return self.transaction()

    @contextmanager
    def _begun(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            with contextlib.suppress(pymysql.Error):
                self._connection.rollback()
            raise

    def begin_again(self) -> None:
        """Undo the rest of a transaction, and begin another."""
        self._connection.rollback()
        self._connection.begin()

    def takes_from(self, queues: str) -> None:
        """Record the queues (a JSON array) from which tasks were last taken. `news` looks at these."""
        self._queues = queues

    def listen(self) -> None:
        """Do nothing: there are no notifications, so `news` looks."""

    def listen_results(self) -> None:
        """Do nothing: there are no notifications, so `finished` says when to look."""
        self.finished()

    def finished(self) -> frozenset[str]:
        """Return `SOMETHING` when it is time to look for results, more rarely the longer a caller waits."""
        return self._result_polling.due()

    def wakeup_fd(self) -> int | None:
        """None: there is nothing to wait for, so poll `news`."""
        return None

    @property
    def is_told_early(self) -> bool:
        """False: there are no notifications."""
        return False

    @property
    def has_notified(self) -> bool:
        """False: there are no notifications."""
        return False

    def news(self) -> frozenset[str]:
        """Return whether the first task of this connection's queues has changed, and whether messages have.

        A connection that takes from no queue hears of every new task. Messages are looked for at intervals and with
        every new task, because a revocation must arrive before a task that was sent after it.
        """
        news = set()
        now = time.monotonic()
        if self._queues is not None:
            had_first, self._first = self._first, self._tx.fetch("news", queues=self._queues)
            if self._first and self._first != had_first:
                news.add("tasks")
        if news or now >= self._next_messages:
            self._next_messages = now + LOOK_FOR_MESSAGES_S
            (found,) = self._tx.fetch("news_of_messages")
            messages, newest = (found.last_message, found.messages), found.last_task
            (had_messages, had_newest), self._seen = self._seen, (messages, newest)
            if messages != had_messages:
                news.add("messages")
            if newest != had_newest and self._queues is None:
                news.add("tasks")
        return frozenset(news)

    def abort(self) -> None:
        peer = private.socket_of(self._connection)
        if peer is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(peer.fileno())) as other:
                other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(pymysql.Error, OSError):
            self._connection.close()


class RepeatedTx:
    """The `Tx` of a short transaction of ours. If the server ends it because of a deadlock, it is repeated.

    The repetition is safe if every statement gets the same answer as before, because everything since then follows from
    the answers. If an answer differs, or each repetition ends in a deadlock, the error is raised.
    """

    dialect = "mysql"

    def __init__(self, connection: MysqlConnection) -> None:
        self._connection = connection
        self._tx = DbapiTx(connection.raw.cursor, self.dialect, "pyformat")
        self._done: list[tuple[Callable[[], Any], Any]] = []

    def run(self, statement: str, /, **params: Any) -> int:
        return self._answered(lambda: self._tx.run(statement, **params))

    def fetch(self, statement: str, /, **params: Any) -> list[Row]:
        if statement == "take":
            self._connection.takes_from(params["queues"])
        if statement in CLOCKS:
            return self._tx.fetch(statement, **params)
        return self._answered(lambda: self._tx.fetch(statement, **params))

    def query(self, sql: str, /, **params: Any) -> list[Row]:
        return self._answered(lambda: self._tx.query(sql, **params))

    def script(self, sql: str, /) -> None:
        """Run SQL unchanged. Most of it commits by itself, so it is not repeated."""
        self._tx.script(sql)

    def _answered(self, ask: Callable[[], T]) -> T:
        try:
            answer = ask()
        except pymysql.OperationalError as error:
            if error.args[0] not in mysql_codes.UNDONE:
                raise
            answer = self._repeated(ask, error)
        self._done.append((ask, answer))
        return answer

    def _repeated(self, ask: Callable[[], T], first: pymysql.OperationalError) -> T:
        last = first
        for _ in range(MOST_REPEATS):
            self._connection.begin_again()
            try:
                if all(again() == answer for again, answer in self._done):
                    return ask()
            except pymysql.OperationalError as error:
                if error.args[0] not in mysql_codes.UNDONE:
                    raise
                last = error
            else:
                raise first
        raise last


class UserLock:
    """A named lock on its own session. *before* is the session that held the lock before."""

    def __init__(
        self, params: Mapping[str, Any], worker_id: str, liveness_key: int, bound_s: float, before: int | None = None
    ) -> None:
        self._connection = _connect(params, bound_s)
        self._worker_id = worker_id
        self._tx = DbapiTx(self._connection.cursor, "mysql", "pyformat")
        lock = {"worker_id": worker_id, "liveness_key": liveness_key}
        until = time.monotonic() + bound_s
        try:
            self._tx.script(LOCK_SESSION)
            while True:
                (answer,) = self._tx.fetch("hold_liveness", **lock)
                self.session = answer.session_id
                if answer.is_held == 1:
                    break
                if time.monotonic() > until:
                    raise pymysql.OperationalError(
                        mysql_codes.LOCK_WAIT, f"the liveness lock of {worker_id} is held by another session"
                    )
                if before is not None and self._tx.fetch("holds_liveness", session=before, **lock):
                    self._tx.script(f"KILL CONNECTION {before:d}")  # the server does not know that its client is gone
                time.sleep(LOCK_RETRY_S)
        except BaseException:
            self.close()
            raise

    def confirm(self) -> None:
        """Record the server's start under which the lock was taken. A restarted server has lost the lock."""
        self._tx.run("note_server", worker_id=self._worker_id)

    def is_held(self) -> bool:
        """Whether the session still exists: the server has not closed its side of the socket, or announced that."""
        peer = private.socket_of(self._connection)
        if peer is None:
            return False
        poll = select.poll()  # not select(): there may be more than 1,024 files
        poll.register(peer, select.POLLIN)
        return not poll.poll(0)

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when the server ends the session."""
        peer = private.socket_of(self._connection)
        return None if peer is None else int(peer.fileno())

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Run statements that are transactions by themselves."""
        yield self._tx

    def close(self, *, is_over: bool = False) -> None:
        """End the session, and with it the lock."""
        with contextlib.suppress(pymysql.Error, OSError):
            self._connection.close()


def params_of(url: str) -> dict[str, Any]:
    """Parse ``//user:password@host:port/database?option=value`` for PyMySQL. Raises ConfigurationError."""
    parts = urlsplit(url)
    database = unquote(parts.path.strip("/"))
    if not database:
        raise ConfigurationError("The MySQL URL names no database: mysql://user:password@host/DATABASE.")
    params: dict[str, Any] = {"database": database, "host": parts.hostname or "localhost", "port": parts.port or 3306}
    if parts.username is not None:
        params["user"] = unquote(parts.username)
    if parts.password is not None:
        params["password"] = unquote(parts.password)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _IGNORED:
            continue
        if name not in OPTIONS:
            raise ConfigurationError(
                f"The MySQL URL has an option {name!r}, which the ledger does not know. It knows: "
                f"{', '.join(sorted(OPTIONS))}."
            )
        params[name] = OPTIONS[name](value)
    return params


def label_of(params: Mapping[str, Any]) -> str:
    """Return the URL without its password, for people."""
    user = params.get("user")
    who = f"{user}{':***' if params.get('password') else ''}@" if user else ""
    return f"mysql://{who}{params.get('host', 'localhost')}:{params.get('port', 3306)}/{params.get('database', '')}"


def caller_tx(connection: pymysql.Connection[Any]) -> Tx:
    """Return a `Tx` over the caller's PyMySQL connection, in its open transaction or the one that the driver begins."""
    return DbapiTx(lambda: pymysql.cursors.Cursor(connection), "mysql", "pyformat")


class _Client(pymysql.Connection):  # type: ignore[misc]  # it brings no types
    """PyMySQL's connection, without reading the machine's certificates (20 ms) if nothing is verified."""

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return super()._create_ssl_ctx(sslp) if sslp else _unverified()


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _connect(params: Mapping[str, Any], bound_s: float | None = None) -> pymysql.Connection[Any]:
    # CLIENT.FOUND_ROWS counts the rows that match the guard, including rows that do not change.
    given = {"connect_timeout": 10, **params}
    if bound_s is not None:
        # A proxy may keep a connection open without reaching a server, so an answer is waited for only a little longer.
        given["connect_timeout"] = max(1, min(given["connect_timeout"] or 10, math.ceil(bound_s)))
        for name in ("read_timeout", "write_timeout"):
            given[name] = min(given.get(name) or math.inf, bound_s + ANSWER_S)
    connection: pymysql.Connection[Any] = _Client(
        **{**given, "charset": "utf8mb4", "autocommit": True},
        client_flag=CLIENT.FOUND_ROWS,
        program_name="mirepoix",
    )
    try:
        _keep_alive(connection)
        with connection.cursor() as cursor:
            for statement in (*SESSION, *_bounds(connection, bound_s)):
                cursor.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _bounds(connection: pymysql.Connection[Any], bound_s: float | None) -> list[str]:
    """Set the same limits on the server. MySQL only limits SELECT statements."""
    if bound_s is None:
        return []
    is_mariadb = "MariaDB" in connection.get_server_info()
    most = f"max_statement_time = {bound_s:g}" if is_mariadb else f"max_execution_time = {int(bound_s * 1000)}"
    wait_s = max(1, int(bound_s / (2 * MOST_REPEATS)))  # a statement that waits for a lock is tried again
    return [f"SET SESSION {most}, lock_wait_timeout = {wait_s}, innodb_lock_wait_timeout = {wait_s}"]


def _keep_alive(connection: pymysql.Connection[Any]) -> None:
    # A session ends after this if its other end vanished without closing the connection, whichever side waits.
    peer = private.socket_of(connection)
    if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
        idle_s, interval_s, count = KEEP_ALIVE_S
        options = (
            *(("TCP_KEEPIDLE", idle_s), ("TCP_KEEPINTVL", interval_s), ("TCP_KEEPCNT", count)),
            ("TCP_USER_TIMEOUT", (idle_s + interval_s) * 1000),
        )
        for name, value in options:
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_of_this_thread(connection: MysqlConnection) -> bool:
    # With gevent a socket belongs to the hub of the thread that opened it, and coroutines run in another thread.
    hub = getattr(private.socket_of(connection.raw), "hub", None)
    return hub is None or hub is sys.modules["gevent"].get_hub()


def _require_version(connection: pymysql.Connection[Any], label: str) -> None:
    said = connection.get_server_info()
    kind = "MariaDB" if "MariaDB" in said else "MySQL"
    # Old protocols expect a version below 6, so MariaDB puts such a version before its own.
    found = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", said)
    if found is not None and tuple(map(int, found.groups())) < OLDEST[kind]:
        needed = ".".join(map(str, OLDEST[kind]))
        raise ConfigurationError(f"{label} is {kind} {'.'.join(found.groups())}; the ledger needs {needed} or newer.")


def _is_in_transaction(connection: pymysql.Connection[Any]) -> bool:
    return bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)
