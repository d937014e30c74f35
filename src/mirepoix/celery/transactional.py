"""The API of transactional tasks: the check when a task is declared, and `transaction`.

`mirepoix.celery.unit_of_work` runs such a task. Only processes that run tasks need it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from kombu.exceptions import EncodeError

from mirepoix.celery.async_def import IS_COROUTINE
from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.errors import ConfigurationError

running_transaction: ContextVar[TaskTransaction | None] = ContextVar("mirepoix_running_transaction", default=None)


class CommitRefused(EncodeError):  # type: ignore[misc]
    """The database refused the COMMIT of a transactional task because of what the task wrote. All of it is rolled back.

    It is a subclass of kombu's EncodeError: for that error Celery records a failure although user code returned.
    """


def transaction() -> Any:
    """Return the Session or connection that the running transactional task must write with.

    It is an SQLAlchemy Session or Connection with ``mirepoix.install(session_factory=...)``, Django's connection with a
    ledger in Django's database, and else the driver's own connection to the ledger. Never commit, roll back or close
    it. Raises ConfigurationError outside of a transactional task.
    """
    transaction = running_transaction.get()
    if transaction is None:
        raise ConfigurationError(
            "mirepoix.transaction() was called outside of a transactional task. Mark the task: "
            "@app.task(transactional=True)."
        )
    return transaction.handle


def check(task: Any) -> None:
    """Raise ConfigurationError for a transactional task that is an ``async def``: it cannot work."""
    if getattr(task, "transactional", False) and vars(task).get(IS_COROUTINE):
        raise ConfigurationError(
            f"The task {task.name} is transactional and an async def: a transaction of Django or SQLAlchemy belongs "
            "to one thread and cannot be awaited. Make it a plain def, or leave transactional out and use "
            "mirepoix.using()."
        )
