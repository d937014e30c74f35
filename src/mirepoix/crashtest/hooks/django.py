"""Django's statements, commits, functions that wait for a commit, and mail.

A ``TestCase`` commits nothing. There the release of the task's own outermost savepoint stands for the COMMIT, and the
functions that wait for the commit run then.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from mirepoix.crashtest import sql as statements
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.places import user_line
from mirepoix.crashtest.points import Delivery, Died, current, is_beside

_SMTP = "django.core.mail.backends.smtp.EmailBackend"
"""Django's default mailer if BACKEND is missing."""

_OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "SET", "PRAGMA")


class AtCommit:
    """An effect that becomes real with the commit itself, such as a task that is a row of the same transaction."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def __call__(self) -> None:
        """Do nothing: the effect became real with the commit."""


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""
    for connection in connections.all():
        stack.enter_context(connection.execute_wrapper(statement))
    replace(stack, BaseDatabaseWrapper, "connect", _connect)
    replace(stack, BaseDatabaseWrapper, "close", _close)
    replace(stack, BaseDatabaseWrapper, "_commit", _commit)
    replace(stack, BaseDatabaseWrapper, "on_commit", _on_commit)
    replace(stack, transaction.Atomic, "__exit__", _leave)
    for backend in {*_mail_backends(), "django.core.mail.backends.locmem.EmailBackend"}:
        replace(stack, import_string(backend), "send_messages", _mail)


def _mail_backends() -> set[str]:
    """Return the backend of EMAIL_BACKEND, or the backends of MAILERS (Django 6.1 and later)."""
    with warnings.catch_warnings():  # the user's code is responsible for the deprecated EMAIL_BACKEND
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return {settings.EMAIL_BACKEND}
        except AttributeError:  # MAILERS is set
            return {mailer.get("BACKEND", _SMTP) for mailer in settings.MAILERS.values()}


def depth(delivery: Delivery, connection: Any) -> int:
    """Return the number of atomic blocks that the task itself has entered."""
    return len(connection.atomic_blocks) - delivery.base_depth.get(connection.alias, 0)


def waiting_for(delivery: Delivery, alias: str) -> Callable[[dict[str, Any]], None] | None:
    """Return the function that ties an effect to the task's open transaction in *alias*, or None if none is open."""
    connection = connections[alias]
    if depth(delivery, connection) <= 0:
        return None
    return lambda effect: connection.on_commit(AtCommit(lambda: delivery.journal.add(effect)))


def _here() -> Delivery | None:
    """Return the delivery, except in a thread of the task, which has its own connections."""
    return None if is_beside() else current()


def _connect(original: Any) -> Any:
    def connect(self: Any) -> Any:
        delivery = current()
        if delivery is not None and is_beside():
            delivery.unmodelled.add(f"Django's database in a thread at {user_line(delivery.home)}")
        return original(self)

    return connect


def _close(original: Any) -> Any:
    """Let a task close its connection, except the connection of the test's transaction."""

    def close(self: Any) -> Any:
        delivery = _here()
        if delivery is None or self.alias not in delivery.base_depth or depth(delivery, self) > 0:
            return original(self)
        return None

    return close


def statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Wrap a statement of Django. A statement that writes is a fault point."""
    delivery = _here()
    text = str(sql)
    words = text.split(None, 1)
    if delivery is None or not words or words[0].upper() in _OF_TRANSACTIONS:
        return execute(sql, params, many, context)
    table = statements.written_table(text)
    connection = context["connection"]
    is_outside = depth(delivery, connection) == 0
    is_in_test = connection.alias in delivery.base_depth
    if is_outside and is_in_test:
        connection.needs_rollback = False  # the task sees a connection in autocommit mode
        execute = _apart(execute, connection)
    is_durable = table is not None and is_outside and (is_in_test or connection.get_autocommit())
    if table is None:
        if delivery.is_dead:
            raise Died
        return execute(sql, params, many, context)
    if not table.startswith("mirepoix_"):
        delivery.tables.add(f"{connection.alias}.{table}")
    with delivery.point("sql", statements.label(text), is_durable=is_durable):
        return execute(sql, params, many, context)


def _apart(execute: Any, connection: Any) -> Any:
    """Keep the error of a statement outside any atomic block from breaking the test's transaction."""
    if connection.vendor == "sqlite":
        return execute

    def executed(*args: Any) -> Any:
        savepoint = connection.savepoint()
        try:
            return execute(*args)
        except Exception:
            connection.needs_rollback = False
            connection.savepoint_rollback(savepoint)
            raise

    return executed


def _commit(original: Any) -> Any:
    def commit(self: Any) -> Any:
        delivery = _here()
        if delivery is None or self.connection is None:
            return original(self)
        with delivery.point("commit", "COMMIT", is_durable=True, undo=self.connection.rollback):
            done = original(self)
            _now_real(self.run_on_commit)
            delivery.is_committed = True
            return done

    return commit


def _on_commit(original: Any) -> Any:
    def on_commit(self: Any, func: Any, robust: bool = False) -> Any:
        delivery = _here()
        if delivery is not None and self.alias in delivery.base_depth and depth(delivery, self) == 0:
            return func()
        return original(self, func, robust)

    return on_commit


def _leave(original: Any) -> Any:
    def leave(self: Any, kind: Any, error: Any, trace: Any) -> Any:
        delivery = _here()
        if delivery is None or kind is not None:
            return original(self, kind, error, trace)
        if delivery.is_dead:
            original(self, Died, Died(), None)
            raise Died
        connection = transaction.get_connection(self.using)
        if connection.alias not in delivery.base_depth or depth(delivery, connection) != 1:
            return original(self, kind, error, trace)
        before = delivery.base_hooks[connection.alias]
        try:
            with delivery.point("commit", "COMMIT", is_durable=True):
                done = original(self, kind, error, trace)
                waiting = connection.run_on_commit[before:]
                del connection.run_on_commit[before:]
                _now_real(waiting)
                delivery.is_committed = True
        except Died:
            if depth(delivery, connection) == 1:
                original(self, Died, Died(), None)
            raise
        for _, func, _robust in waiting:
            func()
        return done

    return leave


def _now_real(waiting: Any) -> None:
    for _, func, _robust in waiting:
        if isinstance(func, AtCommit):
            func.act()


def _mail(original: Any) -> Any:
    def send_messages(self: Any, messages: Any) -> Any:
        delivery = current()
        if delivery is None:
            return original(self, messages)
        for message in messages:
            whom = ", ".join(message.recipients())
            with delivery.point("mail", f"mail to {whom}", is_durable=True) as note:
                note({"kind": "mail", "subject": f"{whom}: {message.subject}", "payload": str(message.body)})
        return len(messages)

    return send_messages
