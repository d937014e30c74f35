"""What an installation knows about its ledger's database: how to open connections and how to see who is alive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.records import Neighbour

BOUND_S = 60.0
"""How long anything may take on a connection of a worker's threads. Some statements write a hundred thousand rows."""

LOCK_BOUND_S = 5.0
"""How long a liveness lock and what is asked on its session may take, where the caller does not say."""


class LivenessLock(Protocol):
    """Held by a worker and by every process it forks; freed by the kernel or the server when the last is gone."""

    def confirm(self) -> None:
        """Say in the worker's row, once it is committed, that the lock's absence now proves its death."""

    def is_held(self) -> bool:
        """False once the lock was lost (the database restarted, the connection dropped, the file was deleted)."""

    def fileno(self) -> int | None:
        """A file descriptor that becomes readable when the lock may be lost; None: ask `is_held` now and then."""

    def statements(self) -> AbstractContextManager[Tx]:
        """Statements that each commit by themselves, on the session that holds the lock, where there is one.

        They wait no longer than the lock's bound.
        """

    def close(self, *, is_over: bool = False) -> None:
        """Give the lock up. *is_over*: the worker's row says that it ended, and nobody will look for the lock again."""


class OwnConnection(Connection, Protocol):
    """One of our own connections, for a worker's delivery or a daemon."""

    def statements(self) -> AbstractContextManager[Tx]:
        """Statements that each commit by themselves: for one alone, or for some that may stand alone."""

    def reading(self) -> AbstractContextManager[Tx]:
        """A transaction that only reads, and holds up nobody who writes."""

    def abort(self) -> None:
        """End the session from another thread: what waits on it raises one of the source's `disconnects`.

        Of an SQLite file, which nobody can be cut off from, nothing is ended.
        """

    def wakeup_fd(self) -> int | None:
        """A file descriptor that becomes readable when tasks or messages arrive; None: poll `news` instead."""

    @property
    def is_told_early(self) -> bool:
        """Whether the descriptor tells of a commit a moment before `news` can see it: then look again."""

    def news(self) -> frozenset[str]:
        """What others committed since the last call, of ``tasks`` and ``messages``. Never blocks."""

    def listen(self) -> None:
        """Begin to be told about new tasks and messages."""

    def listen_results(self) -> None:
        """Begin to be told about results."""

    def finished(self) -> frozenset[str]:
        """The ids of tasks that finished since the last call; ``*`` stands for ids that are not told. Never blocks."""


class Source(Protocol):
    """One ledger's database."""

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` or ``sqlite``."""

    @property
    def label(self) -> str:
        """The URL without its password, for people."""

    @property
    def disconnects(self) -> tuple[type[Exception], ...]:
        """What drivers raise when the database is away, too busy or read only."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """All that its drivers raise."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """A short transaction of the caller's thread, on a pooled connection (Django: on Django's own)."""

    def statement(self) -> AbstractContextManager[Tx]:
        """For one statement that is all there is to commit: in one round trip where that can be, else a transaction.

        A pooled connection that the database has closed meanwhile is replaced before anything is sent on it; Django's
        is left to Django. If it is lost while the statement runs, whether that was committed is not known, as with any
        COMMIT.
        """

    def reading(self) -> AbstractContextManager[Tx]:
        """A short look that only reads, and holds up nobody who writes. It sees the caller's own transaction or not."""

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """A short transaction that is committed whatever becomes of the caller's.

        Only where the caller's would keep it waiting for ever, an SQLite file that Django has a transaction open on, it
        is part of that one.
        """

    def begin(self) -> TaskTransaction:
        """A transaction for a task to run in, which its outcome is committed with."""

    def enclosing_transaction(self) -> Tx | None:
        """The transaction the caller's framework has open right now (Django's ``atomic``), or None."""

    def after_commit(self, act: Callable[[], None]) -> bool:
        """Call *act* once the framework's transaction is committed; False, and nothing, if nobody tells of that."""

    def open(self, bound_s: float | None = None) -> OwnConnection:
        """A new connection of our own. With *bound_s*, whatever waits longer on it raises one of `disconnects`."""

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> LivenessLock:
        """Take the lock that says that this process, or one forked from it, still runs.

        *before* is the lock of the same worker that was lost. A server may not know yet that its session is over, and
        is told to end it. Raises one of `disconnects` if the lock cannot be taken within *bound_s*.
        """

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        """The other live workers that have a lock which nobody holds now."""

    def leave(self) -> None:
        """A task is over in this thread: close what the framework keeps open for no longer than a request."""

    def work_at(self, url: str) -> None:
        """Use the same database by another URL from now on, as a worker does. Raises ConfigurationError."""

    def name_sessions(self, name: str) -> None:
        """Call its sessions so from now on, where the server shows names: in PostgreSQL's ``pg_stat_activity``."""

    def require_sessions(self) -> None:
        """Raise ConfigurationError unless a connection is one session of the server for as long as it is open.

        Raises one of `disconnects` if the database is away.
        """

    def close(self) -> None:
        """Close pooled connections."""

    def __getstate__(self) -> Any:
        """Sources can be copied with the Celery configuration."""
