"""The interface to the ledger's database: how to open connections, and how to see which workers are alive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.records import Neighbour

BOUND_S = 60.0
"""How long a statement on a connection of a worker's threads may take. Some statements write a hundred thousand
rows."""

LOCK_BOUND_S = 5.0
"""How long a liveness lock, and a statement on its session, may take, if the caller does not say."""


class LivenessLock(Protocol):
    """A lock that a worker and its forked processes hold. The kernel or the server frees it when the last is gone."""

    def confirm(self) -> None:
        """Record in the worker's row, once it is committed, that a missing lock now proves the worker's death."""

    def is_held(self) -> bool:
        """Whether the lock still exists. A restart, a dropped connection or a deleted file loses it."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when the lock may be lost. If it is None, ask `is_held` regularly."""

    def statements(self) -> AbstractContextManager[Tx]:
        """Run statements that each commit by themselves, on the lock's session, if it has one.

        They wait no longer than the lock's bound.
        """

    def close(self, *, is_over: bool = False) -> None:
        """Release the lock. *is_over* says that the worker's row has ended, so nobody looks for the lock again."""


class OwnConnection(Connection, Protocol):
    """One of our own connections, for a worker's delivery or a daemon."""

    def statements(self) -> AbstractContextManager[Tx]:
        """Run statements that each commit by themselves."""

    def reading(self) -> AbstractContextManager[Tx]:
        """Open a transaction that only reads, and does not block writers."""

    def abort(self) -> None:
        """End the session from another thread. A statement that waits on it raises one of the source's `disconnects`.

        An SQLite file has no session, so nothing is ended there.
        """

    def wakeup_fd(self) -> int | None:
        """A descriptor that is readable when tasks or messages arrive. If it is None, poll `news`."""

    @property
    def is_told_early(self) -> bool:
        """Whether the descriptor reports a commit a moment before `news` can see it. Then look again."""

    @property
    def has_notified(self) -> bool:
        """Whether a notification came with the answer to a statement. The descriptor does not report it: ask `news`."""

    def news(self) -> frozenset[str]:
        """Return what others committed since the last call: ``tasks``, ``messages`` or both. Never blocks."""

    def listen(self) -> None:
        """Start notifications about new tasks and messages."""

    def listen_results(self) -> None:
        """Start notifications about results."""

    def finished(self) -> frozenset[str]:
        """Return the ids of tasks that finished since the last call. ``*`` stands for unknown ids. Never blocks."""


class Source(Protocol):
    """The database of a ledger."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    @property
    def label(self) -> str:
        """The URL without its password, for people."""

    @property
    def disconnects(self) -> tuple[type[Exception], ...]:
        """The errors that drivers raise if the database is away, too busy or read only."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """All errors that its drivers raise."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """Open a short transaction of the caller's thread, on a pooled connection (in Django: on Django's own)."""

    def statement(self) -> AbstractContextManager[Tx]:
        """Run one statement that is a whole transaction, in one round trip if possible.

        A pooled connection that the database has closed is replaced before anything is sent on it; Django manages its
        own. If the connection is lost while the statement runs, it is unknown whether it was committed, as with any
        COMMIT.
        """

    def reading(self) -> AbstractContextManager[Tx]:
        """Open a short read-only transaction that blocks no writers. It may or may not see the caller's transaction."""

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """Open a short transaction that commits independently of the caller's.

        If Django has a transaction open on an SQLite file, a second transaction would wait for it for ever. Only then
        it is part of that transaction.
        """

    def begin(self) -> TaskTransaction:
        """Begin a transaction for a task. It commits together with the task's outcome."""

    def enclosing_transaction(self) -> Tx | None:
        """Return the open transaction of the caller's framework (Django's ``atomic``), or None."""

    def after_commit(self, act: Callable[[], None]) -> bool:
        """Call *act* after the commit of the framework's transaction. Returns False if no commit is reported."""

    def open(self, bound_s: float | None = None) -> OwnConnection:
        """Open a new connection of our own. With *bound_s*, a longer wait on it raises one of `disconnects`."""

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> LivenessLock:
        """Take the lock that shows that this process, or a process forked from it, still runs.

        *before* is the lost lock of the same worker. The server may not know yet that its session is over, and is told
        to end it. Raises one of `disconnects` if the lock cannot be taken within *bound_s*.
        """

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """Return the other live workers with a lock that nobody holds."""

    def leave(self) -> None:
        """Close connections that the framework keeps open only for a request. A task has ended in this thread."""

    def work_at(self, url: str) -> None:
        """Use the same database through another URL, as a worker does. Raises ConfigurationError."""

    def name_sessions(self, name: str) -> None:
        """Name the sessions, if the server shows names: in PostgreSQL's ``pg_stat_activity``."""

    def require_sessions(self) -> None:
        """Raise ConfigurationError unless a connection keeps one session of the server while it is open.

        Raises one of `disconnects` if the database is away.
        """

    def close_unused(self) -> None:
        """Close the pooled connections of our own that nobody has borrowed since the last call."""

    def close(self) -> None:
        """Close the pooled connections."""

    def __getstate__(self) -> Any:
        """Support copying a source together with the Celery configuration."""
