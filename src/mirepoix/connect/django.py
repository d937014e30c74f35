"""A ledger in one of Django's databases. Tasks join Django's own transaction, on Django's own connection.

Workers and daemons use their own connections, made from the same settings, to wait for notifications and to hold the
liveness lock. Django's connections cannot do that. Nothing here reads Django's settings before they are needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from mirepoix.config import Settings
from mirepoix.connect import private
from mirepoix.connect.caller import CallerTx
from mirepoix.connect.dbapi import DbapiTx
from mirepoix.connect.source import LOCK_BOUND_S, LivenessLock, OwnConnection, Source
from mirepoix.connect.task_transaction import RolledBackError, TaskTransaction
from mirepoix.connect.url import optional, source_for
from mirepoix.errors import ConfigurationError, UnsupportedDatabase
from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour
from mirepoix.sql import DIALECTS

T = TypeVar("T")

_NOT_LIBPQ = frozenset({"prepare_threshold", "autocommit"})
"""Django's connection parameters with plain values that only the Python driver understands."""

_MYSQL_NAMES = {"db": "database", "passwd": "password"}
_MYSQL_PARAMS = frozenset({"user", "password", "host", "port", "database", "unix_socket", "ssl", "connect_timeout"})
"""Django's connection parameters, which are those of MySQLdb, that our own connections use."""


class DjangoSource:
    """The ledger in Django's database *alias*."""

    def __init__(self, alias: str | None = None) -> None:
        self._alias = alias
        self._own: tuple[Any, Source] | None = None
        self._worker_url: str | None = None
        self._sessions: str | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<ledger in Django's database {self._alias or '(by its settings)'}>"

    @cached_property
    def alias(self) -> str:
        """The alias of the database. The migrations use the same alias."""
        return self._alias or ledger_alias()

    @property
    def label(self) -> str:
        """The database's name, for people."""
        return f"Django's database {self.alias!r}"

    def __getstate__(self) -> str | None:
        return self._alias

    def __setstate__(self, alias: str | None) -> None:
        self.__init__(alias)  # type: ignore[misc]

    @cached_property
    def dialect(self) -> str:
        """The database's dialect. Raises ConfigurationError or UnsupportedDatabase."""
        return dialect_of(self._django())

    @cached_property
    def disconnects(self) -> tuple[type[Exception], ...]:
        """Django's classes, and those of the driver of our own connections.

        In Django a read-only transaction of PostgreSQL is an InternalError.
        """
        internal = (InternalError,) if self.dialect == "postgresql" else ()
        return (OperationalError, InterfaceError, *internal, *self._own_class().disconnects)

    @cached_property
    def errors(self) -> tuple[type[Exception], ...]:
        """Django's base class of errors, and the driver's."""
        return (DatabaseError, InterfaceError, *self._own_class().errors)

    def _own_class(self) -> Any:
        module, extra, source = _OWN[self.dialect]
        return getattr(optional(module, extra), source)

    def transaction(self) -> AbstractContextManager[Tx]:
        """Open Django's ``atomic`` on this thread's connection: a savepoint in an open block, otherwise a transaction.

        If Django's connection cannot be used (`_is_out_of_reach`), open a transaction on a connection of our own.
        """
        return self._own_source().transaction() if self._is_out_of_reach() else self._atomic()

    def statement(self) -> AbstractContextManager[Tx]:
        """Run a statement on this thread's connection. It is part of the open ``atomic`` block, if there is one."""
        if self._is_out_of_reach():
            return self._own_source().statement()
        connection = self._django()
        _drop_if_broken(connection)
        return nullcontext(self._tx(connection))

    def reading(self) -> AbstractContextManager[Tx]:
        """Read on Django's connection, which sees the writes of its open transaction."""
        return self._own_source().reading() if self._is_out_of_reach() else self._atomic()

    def independent_transaction(self) -> AbstractContextManager[Tx]:
        """Open a transaction on a connection of our own. A rollback by Django does not affect it.

        On SQLite it is part of the open ``atomic`` block, if there is one, because a second writer would wait for its
        end.
        """
        enclosing = self.enclosing_transaction() if self.dialect == "sqlite" else None
        return self._own_source().independent_transaction() if enclosing is None else nullcontext(enclosing)

    def begin(self) -> TaskTransaction:
        """Open Django's ``atomic`` on this thread's connection. It commits with the task's outcome."""
        connection = self._django()
        _drop_if_broken(connection)
        return AtomicTaskTransaction(self.alias, self._tx(connection))

    def enclosing_transaction(self) -> Tx | None:
        """Return this thread's ``atomic`` block, or its transaction with ``autocommit`` off, or None."""
        connection = self._django()
        if connection.in_atomic_block or not _is_autocommitting(connection):
            return self._tx(connection)
        return None

    def after_commit(self, act: Callable[[], None]) -> bool:
        """Register *act* with Django's ``on_commit``, which drops it if its block or savepoint rolls back."""
        if not self._django().in_atomic_block:
            return False  # autocommit is off, and Django does not see the commit
        transaction.on_commit(act, using=self.alias)
        return True

    def open(self, bound_s: float | None = None) -> OwnConnection:
        return self._own_source().open(bound_s)

    def hold_liveness(
        self, worker_id: str, liveness_key: int, bound_s: float = LOCK_BOUND_S, before: LivenessLock | None = None
    ) -> LivenessLock:
        return self._own_source().hold_liveness(worker_id, liveness_key, bound_s, before)

    def unheld(self, connection: OwnConnection, worker_id: str) -> list[Neighbour]:
        return self._own_source().unheld(connection, worker_id)

    def work_at(self, url: str) -> None:
        """Use *url* for our own connections. Django's connections still follow DATABASES, also through a pooler."""
        self.close()
        self._own = None
        self._worker_url = url

    def name_sessions(self, name: str) -> None:
        """Name our own connections. OPTIONS in DATABASES name Django's connections."""
        self._sessions = name
        if self._own is not None:
            self._own[1].name_sessions(name)

    def require_sessions(self) -> None:
        """Check our own connections. Django's connections do not need their own session."""
        self._own_source().require_sessions()

    def leave(self) -> None:
        """Close this thread's connections as ``CONN_MAX_AGE`` says. Celery did so before the outcome was written."""
        if not _is_in_event_loop():
            close_idle_connections()

    def close_unused(self) -> None:
        if self._own is not None:
            self._own[1].close_unused()

    def close(self) -> None:
        """Close our own pooled connections. Django's connections stay open."""
        if self._own is not None:
            self._own[1].close()

    def _is_out_of_reach(self) -> bool:
        """Whether Django's connection cannot be used here.

        Under an event loop Django refuses it. Before its apps are loaded, Django warns of each query, and ``celery -A
        mysite status`` and other commands never load them.
        """
        if _is_in_event_loop():
            return True
        is_loaded = apps.ready or apps.loading  # while they are loaded, they may have a transaction open
        return not is_loaded and not self._django().in_atomic_block

    @contextmanager
    def _atomic(self) -> Iterator[Tx]:
        connection = self._django()
        _drop_if_broken(connection)
        with transaction.atomic(using=self.alias):
            yield self._tx(connection)

    def _tx(self, connection: Any) -> Tx:
        # Django's SQLite cursor rewrites %(name)s and %% itself, so all databases get the same placeholders.
        return CallerTx(DbapiTx(connection.cursor, self.dialect, "pyformat"), lambda: self._where(connection))

    def _where(self, connection: Any) -> str:
        return f"{self.label} ({connection.vendor} {connection.settings_dict['NAME']!s})"

    def _django(self) -> Any:
        try:
            connection = connections[self.alias]
        except ImproperlyConfigured as error:
            raise ConfigurationError(
                f"The ledger is in {self.label}, but Django is not configured. Set DJANGO_SETTINGS_MODULE, or give "
                f"mirepoix.install() a URL. ({error})"
            ) from error
        except ConnectionDoesNotExist as error:
            raise ConfigurationError(
                f"The ledger is in {self.label}, but DATABASES has no such alias. Correct CELERY_MIREPOIX_DJANGO_ALIAS."
            ) from error
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _leave_to_parent(connection)
        return connection

    def _own_source(self) -> Source:
        # Read the settings at each call, because a test runner replaces the name of the database.
        dialect = self.dialect
        target = self._worker_url or _own_target(self._django(), self.label)
        if self._own is None or self._own[0] != target:
            self.close()
            module, extra, source = _OWN[dialect]
            make = getattr(optional(module, extra), source)
            if self._worker_url is not None:
                self._own = (target, source_for(self._worker_url))
            else:
                self._own = (target, make(target) if dialect == "sqlite" else make(target, self.label))
            if self._sessions is not None:
                self._own[1].name_sessions(self._sessions)
        return self._own[1]


def close_idle_connections() -> None:
    """Close this thread's connections that are too old or broken, except those with an open ``atomic`` block."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


async def leaving(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine*, then close the connections that it used, which belong to another thread."""
    try:
        return await coroutine
    finally:
        # A forked process has the executor without its thread. A call to it would wait for ever.
        if any(thread.is_alive() for thread in private.threads_of(SyncToAsync.single_thread_executor)):
            with contextlib.suppress(Exception):
                await sync_to_async(close_idle_connections)()


class AtomicTaskTransaction:
    """An ``atomic`` block that stays open until the task's outcome is known."""

    def __init__(self, alias: str, tx: Tx) -> None:
        self.tx = tx
        self.handle = connections[alias]
        self._atomic = transaction.atomic(using=alias)
        self._atomic.__enter__()
        self._is_open = True

    def as_current(self) -> AbstractContextManager[None]:
        """Do nothing: a task that is sent in an ``atomic`` block is part of it."""
        return nullcontext()

    def prepare(self) -> None:
        """Raise Django's error for a block that an error has broken. Leaving the block would silently roll it back."""
        self.handle.validate_no_broken_transaction()

    def commit(self) -> None:
        """COMMIT, and run Django's ``on_commit`` functions."""
        self._is_open = False  # Django leaves the block even on an error; leaving twice would leave an outer block
        self._atomic.__exit__(None, None, None)

    def roll_back(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(Exception):
            self._atomic.__exit__(RolledBackError, RolledBackError(), None)


_OWN = {
    "postgresql": ("psycopg", "postgres", "PostgresSource"),
    "mysql": ("pymysql", "mysql", "MysqlSource"),
    "sqlite": ("sqlite3", "", "SqliteSource"),
}


def ledger_alias() -> str:
    """Return the alias of the ledger's database (``CELERY_MIREPOIX_DJANGO_ALIAS``, else ``default``)."""
    return str(getattr(settings, "CELERY_MIREPOIX_DJANGO_ALIAS", Settings().django_alias))


def require_library(dialect: str) -> None:
    """Raise MissingLibrary if the driver of our own connections is missing. Django may use another driver."""
    module, extra, _ = _OWN[dialect]
    optional(module, extra)


def dialect_of(connection: Any) -> str:
    """Return the ledger's name of the dialect of a Django connection. Raises UnsupportedDatabase."""
    vendor: str = connection.vendor
    if vendor not in DIALECTS:
        raise UnsupportedDatabase(f"Django's database {connection.alias!r} ({connection.settings_dict['ENGINE']})")
    return vendor


_inherited: list[Any] = []
"""Connections that a child inherited by a fork. They are never used, and never closed, because closing would end the
parent's session."""


def _leave_to_parent(connection: Any) -> None:
    # Celery's own support for Django does this too, but only if DJANGO_SETTINGS_MODULE is set. Without it, two
    # processes used one connection, and half of a transaction was committed (measured).
    is_in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()
    if connection.connection is not None and not connection.in_atomic_block and not is_in_memory:
        _inherited.append(connection.connection)
        connection.connection = None


def _is_in_event_loop() -> bool:
    # Django's own rule for when its connections cannot be used (django.utils.asyncio.async_unsafe).
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")


def _is_autocommitting(connection: Any) -> bool:
    # `get_autocommit()` would connect.
    is_connected = connection.connection is not None
    return bool(connection.autocommit if is_connected else connection.settings_dict["AUTOCOMMIT"])


def _drop_if_broken(connection: Any) -> None:
    # Django checks for broken connections only between requests. A script or a thread that sends tasks has no requests.
    if (
        connection.errors_occurred
        and connection.connection is not None
        and not connection.in_atomic_block
        and _is_autocommitting(connection)
        and not connection.is_usable()
    ):
        connection.close()


def _own_target(connection: Any, label: str) -> Any:
    """Return the file, libpq's connection string or PyMySQL's parameters of a Django connection."""
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        if name == ":memory:" or name.startswith("file:"):
            raise ConfigurationError(
                f"{label} is {name}: workers are other processes and need the path of a file there. For tests with a "
                "worker, set DATABASES[...]['TEST']['NAME'] to one."
            )
        return name
    params = dict(connection.get_connection_params())
    if connection.vendor == "mysql":
        named = {_MYSQL_NAMES.get(name, name): value for name, value in params.items()}
        return {name: value for name, value in named.items() if name in _MYSQL_PARAMS}
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    if role:
        params["options"] = f"{params.get('options', '')} -c role={role}".strip()
    plain = {k: v for k, v in params.items() if isinstance(v, str | int) and k not in _NOT_LIBPQ}
    return " ".join(f"{key}='{_escaped(value)}'" for key, value in sorted(plain.items()))


def _escaped(value: str | int) -> str:
    return str(value).replace("\\", "\\\\").replace("'", "\\'")
