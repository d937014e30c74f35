"""A ledger in an SQLite file, with a write-ahead log and BEGIN IMMEDIATE. ``flock`` shows which workers are alive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import cast

from mirepoix.connect import ambient, inotify
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.forkgate import gate
from mirepoix.connect.interrupts import uninterrupted
from mirepoix.connect.pool import Pool
from mirepoix.connect.pooled import PooledSource
from mirepoix.connect.source import LOCK_BOUND_S, LivenessLock, OwnConnection
from mirepoix.connect.task_transaction import OwnTaskTransaction, TaskTransaction
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another before "database is locked" is raised."""

ANYTHING = frozenset({"tasks", "messages"})
NOTHING: frozenset[str] = frozenset()
SOMETHING = frozenset({"*"})

OLDEST = (3, 35, 0)
"""The first SQLite with RETURNING."""


class SqliteSource(PooledSource):
    """The ledger in an SQLite file. `mirepoix.install` creates the file with its tables."""

    dialect = "sqlite"
    disconnects: tuple[type[Exception], ...] = (sqlite3.OperationalError,)
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: str) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old for the ledger; it needs "
                f"{'.'.join(map(str, OLDEST))} or newer."
            )
        self.path = str(Path(path).absolute())
        self.label = f"sqlite:///{self.path}"
        if not Path(self.path).parent.is_dir():
            raise ConfigurationError(f"The folder of {self.label} does not exist. Create it, or name another file.")
        self._pool = Pool(self.open)
        self._begun = Pool(self.open, size=None)

    def __getstate__(self) -> str:
        return self.path

    def __setstate__(self, path: str) -> None:
        self.__init__(path)  # type: ignore[misc]

    def begin(self) -> TaskTransaction:
        """Begin a transaction for a task. User code gets the sqlite3 connection."""
        return OwnTaskTransaction(self._lend, lambda raw: raw.in_transaction, ambient.as_current)

    def _lend(self, stack: ExitStack) -> tuple[sqlite3.Connection, Tx]:
        connection, tx = stack.enter_context(self._begun.lent(SqliteConnection.lasting))
        return cast(SqliteConnection, connection).raw, tx

    def open(self, bound_s: float | None = None) -> SqliteConnection:
        """Open a new connection. SQLite itself limits how long a statement waits, also without *bound_s*."""
        return SqliteConnection(self.path, BUSY_TIMEOUT_S if bound_s is None else min(bound_s, BUSY_TIMEOUT_S))

    def work_at(self, url: str) -> None:
        """Raise ConfigurationError, because a file has no other URL."""
        raise ConfigurationError(
            f"mirepoix_worker_url is for servers behind a pooler; the ledger is the file {self.label}."
        )

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> FileLock:
        """Lock a file beside the database. Forked children keep the lock with the open file."""
        return FileLock(self._lock_file(liveness_key), partial(self.open, bound_s), bound_s)

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """Try the lock file of every other live worker. A missing file, or a file of another user, proves nothing."""
        with connection.reading() as tx:
            others = workers.neighbours(tx, worker_id)
        return [other for other in others if _is_free(self._lock_file(other.liveness_key))]

    def _lock_file(self, liveness_key: int) -> Path:
        return Path(f"{self.path}-workers") / f"{liveness_key}.lock"


class SqliteConnection:
    """A connection to the file. Threads may use it in turn, but not at once."""

    def __init__(self, path: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._watch: inotify.Watch | None = None
        _make_private(path)
        with gate.no_fork():
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            # FULL: a commit survives a power cut, not only a crash of the process.
            _use_wal(self._connection)
            for pragma in ("synchronous = full", "foreign_keys = on"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._seen = self._data_version()

    @property
    def raw(self) -> sqlite3.Connection:
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction with BEGIN IMMEDIATE, which takes the write lock at once, so nothing fails half-way."""
        with uninterrupted(), gate.no_fork():
            yield from self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def lasting(self) -> Iterator[Tx]:
        """Open a transaction for a task, which may take long. Signals are handled meanwhile."""
        with gate.no_fork():
            yield from self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Run statements without BEGIN: each is a transaction."""
        with uninterrupted(), gate.no_fork():
            yield DbapiTx(self._connection.cursor, "sqlite", "named")

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """Open a snapshot with BEGIN. Others may write meanwhile."""
        with uninterrupted(), gate.no_fork():
            yield from self._transaction("BEGIN")

    def _transaction(self, begin: str) -> Iterator[Tx]:
        self._connection.execute(begin)
        try:
            yield DbapiTx(self._connection.cursor, "sqlite", "named")
            self._connection.execute("COMMIT")
        except BaseException:
            # A refused COMMIT leaves the transaction open.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def abort(self) -> None:
        """Do nothing: a file has no session, and SQLite itself limits waits."""

    def listen(self) -> None:
        """Watch the write-ahead log, to which every commit is appended, if the system supports it."""
        if self._watch is None:
            self._watch = inotify.watch(Path(f"{self._path}-wal"))

    def listen_results(self) -> None:
        """Watch the write-ahead log, which also shows results."""
        self.listen()

    def finished(self) -> frozenset[str]:
        """Return `SOMETHING` after a commit. SQLite does not say what was committed."""
        return SOMETHING if self.news() else NOTHING

    def wakeup_fd(self) -> int | None:
        """A descriptor that is readable after a commit. If it is None, poll `news`."""
        return None if self._watch is None else self._watch.fd

    @property
    def is_told_early(self) -> bool:
        """True: a commit is written to the log, then synced, then visible."""
        return self._watch is not None

    @property
    def has_notified(self) -> bool:
        """False: the file is watched beside the connection."""
        return False

    def news(self) -> frozenset[str]:
        """Return whether another connection committed since the last call (a few microseconds)."""
        if self._watch is not None:
            self._watch.drain()
        version = self._data_version()
        has_changed, self._seen = version != self._seen, version
        return ANYTHING if has_changed else NOTHING

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        with gate.no_fork(), contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _data_version(self) -> int:
        with gate.no_fork():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class FileLock:
    """An exclusive ``flock``. Forked children share it, and it is freed when the last of them is gone.

    Raises sqlite3.OperationalError if another process holds it for *bound_s*.
    """

    def __init__(self, path: Path, open_connection: Callable[[], SqliteConnection], bound_s: float) -> None:
        self._path = path
        self._open = open_connection
        self._connection: SqliteConnection | None = None
        self._file = _locked_file(path, bound_s)

    def confirm(self) -> None:
        """Do nothing: a file lock needs no confirmation."""

    def is_held(self) -> bool:
        """Whether the file is still in place. If it was deleted or replaced, others no longer see this lock."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def fileno(self) -> int | None:
        """Return None, because a deleted file is not reported. Ask `is_held` regularly."""
        return None

    @contextmanager
    def statements(self) -> Iterator[Tx]:
        """Run statements that each commit by themselves, on a connection to the ledger's file."""
        if self._connection is None:
            self._connection = self._open()
        with self._connection.statements() as tx:
            yield tx

    def close(self, *, is_over: bool = False) -> None:
        """Unlock the file, and remove it if the worker has ended. Before that, a missing file would prove nothing."""
        if self._connection is not None:
            self._connection.close()
        if is_over and self.is_held():
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._file)


def _locked_file(path: Path, bound_s: float) -> int:
    until = time.monotonic() + bound_s
    while True:
        file = _lock_file_at(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.stat(), os.fstat(file)):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass  # another process tries the lock for an instant, or the file was deleted before it was locked
        os.close(file)
        if time.monotonic() > until:
            raise sqlite3.OperationalError(f"the liveness lock {path} is held by another process")
        time.sleep(0.005)


def _lock_file_at(path: Path) -> int:
    """Open the lock file. Only users who may write to the ledger may use it and its folder."""
    mode = Path(str(path.parent).removesuffix("-workers")).stat().st_mode
    writers = sum(bit for bit in (0o200, 0o020, 0o002) if mode & bit)
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir()
        path.parent.chmod(writers | writers << 1 | writers >> 1)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.fchmod(file, writers | writers << 1)
    return file


def _make_private(path: str) -> None:
    """Create the ledger's file with a private mode, because it has arguments. SQLite's other files get the same."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    # If two processes turn a new file to WAL at once, each would wait for the other. SQLite reports "locked" to one of
    # them at once with any timeout.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(0.005)
        else:
            return


def _is_free(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
