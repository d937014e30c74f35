"""Everything Mirepoix raises on purpose, as one tree.

::

    MirepoixError
    ├── ConfigurationError          the installation cannot work as written
    │   ├── UnsupportedDatabase     a URL or connection of a database that no ledger speaks
    │   ├── MissingLibrary          a library that the ledger's database needs is not installed
    │   └── NewerLockFormat         a newer Mirepoix wrote the signature lock
    ├── EnqueueError                the call was refused before anything was written
    │   ├── PayloadTooLarge
    │   ├── PayloadNotSerializable
    │   ├── InvalidTaskId
    │   ├── TaskIdTaken             a task that has not finished has that id and other arguments
    │   ├── KeyTaken                another call was submitted under that key
    │   └── InvalidOption           an option of the call that the ledger, the broker or a worker cannot take
    ├── ResultGone                  a task has ended, and what it returned or raised is not kept any more
    ├── LeaseLost                   a task goes on in an attempt that may write nothing any more
    ├── StepNotStored               a step ran, and what it returned could not be kept
    ├── OutcomeRefused              the database does not take what an attempt was to record; the attempt failed
    ├── UpcastFailed                an upcaster raised, or returned what are no arguments; the task is parked
    ├── SchemaError                 the ledger's tables are missing or of another version
    ├── WrittenThroughOrm           a model of the ledger was saved or deleted; Mirepoix alone writes it
    ├── CoroutineCancelled          an async def task ended with CancelledError, which no limit or signal had caused
    ├── LedgerAway                  a worker's or client's connection to the ledger was lost (a ConnectionError)
    ├── BrokerAway                  the broker cannot be reached; tasks wait in the ledger (a ConnectionError)
    └── NoWorker                    a task queue was consumed outside a worker

A refusal (a lost lease, a task that is no longer waiting) is a value, never an exception; but user code that goes on
without its lease is stopped by LeaseLost.
"""

from __future__ import annotations

from typing import Any


class MirepoixError(Exception):
    """The base of every error that Mirepoix raises on purpose.

    Each can be pickled: pools send the errors of tasks from process to process.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the message, but most classes take facts and make it of them.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls: type[MirepoixError], args: tuple[Any, ...], attributes: dict[str, Any]) -> MirepoixError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(MirepoixError):
    """The installation cannot work as it is written; the message names the remedy."""


class UnsupportedDatabase(ConfigurationError):
    """A URL or a connection belongs to a database that no ledger speaks."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} is not a database Mirepoix can keep its ledger in. Use sqlite:///path.db, "
            "postgresql://user:password@host/database (install 'mirepoix[postgres]') or "
            "mysql://user:password@host/database (MariaDB or MySQL; install 'mirepoix[mysql]')."
        )


class SessionsNotKept(ConfigurationError):
    """Workers cannot work through a pooler that gives each transaction another session."""

    def __init__(self, label: str) -> None:
        self.label = label
        super().__init__(
            f"{label} leads to a pooler that gives each transaction another session of the server (pgbouncer: "
            "pool_mode = transaction). A worker needs sessions of its own, for the lock that shows that it lives and "
            "for notifications. Give workers the server's own address, or a pool with pool_mode = session: "
            "mirepoix_worker_url (in Django CELERY_MIREPOIX_WORKER_URL) = 'postgresql://user:password@host:port/"
            "database'. Programs that only send may stay on the pooler. See docs/how-to/connections.md."
        )


class MissingLibrary(ConfigurationError):
    """A library that Mirepoix itself needs for this database, or framework, cannot be imported."""

    def __init__(self, library: str, extra: str, why: str = "is not installed") -> None:
        self.library = library
        self.extra = extra
        self.remedy = f"pip install 'mirepoix[{extra}]'"
        super().__init__(f"The library {library!r} {why}. Run: {self.remedy}")


class NewerLockFormat(ConfigurationError):
    """A newer Mirepoix wrote the signature lock, in a format that this one would misread."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"The signature lock is of format {found}, and this Mirepoix reads up to {known}. Upgrade Mirepoix to the "
            "version that wrote it."
        )


class EnqueueError(MirepoixError):
    """The call was refused before anything was written; nothing of it is in the ledger."""


class PayloadTooLarge(EnqueueError):
    """The message body is larger than ``mirepoix_payload_limit_bytes``."""

    def __init__(self, task_name: str, size_bytes: int, limit_bytes: int) -> None:
        self.task_name = task_name
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"The arguments of {task_name} take {size_bytes:,} bytes; the limit is {limit_bytes:,}. Store the "
            "data elsewhere and pass its key, or raise mirepoix_payload_limit_bytes."
        )


class PayloadNotSerializable(EnqueueError):
    """The arguments cannot be written as JSON, or the serializer is one the ledger refuses."""

    def __init__(self, task_name: str, reason: str) -> None:
        self.task_name = task_name
        self.reason = reason
        super().__init__(f"{task_name} cannot be sent: {reason}")


class InvalidTaskId(EnqueueError):
    """A task id, task name or queue name that no column can hold."""

    def __init__(self, what: str, value: str, reason: str) -> None:
        self.what = what
        self.value = value
        super().__init__(f"The {what} {value!r} cannot be stored: {reason}")


class InvalidOption(EnqueueError, ValueError):
    """An option of the call is nothing that the ledger, the broker or a worker can take."""

    def __init__(self, task_name: str, what: str) -> None:
        self.task_name = task_name
        super().__init__(f"{task_name} cannot be sent: {what}. Nothing was sent.")


class TaskIdTaken(EnqueueError):
    """A task that waits or runs has this id, and other arguments: one of the two would be lost."""

    def __init__(self, task_name: str, task_id: str, taken_by: str) -> None:
        self.task_name = task_name
        self.task_id = task_id
        self.taken_by = taken_by
        super().__init__(
            f"{task_name} cannot be sent as task {task_id!r}: {taken_by} has that id and other arguments, and has not "
            "finished. Leave task_id out, or make it of what distinguishes the two; clone() a group or chord that is "
            "sent several times."
        )


class KeyTaken(EnqueueError):
    """Another call was submitted under this key. Nothing was sent, and no argument's value is in the message."""

    def __init__(self, key: str, task_name: str, task_id: str, differences: str) -> None:
        self.key = key
        self.task_name = task_name
        self.task_id = task_id
        self.differences = differences
        super().__init__(
            f"{task_name} cannot be submitted under the key {key!r}, which stands for another call, task {task_id}: "
            f"{differences}. Nothing was sent. A key stands for one call; make it of what distinguishes the two."
        )


class ResultGone(MirepoixError):
    """A task has ended, and what it returned or raised is not kept: it was forgotten, has expired or was ignored."""

    def __init__(self, task_id: str, state: str) -> None:
        self.task_id = task_id
        self.state = state
        super().__init__(
            f"Task {task_id} is {state}, and what it returned or raised is not kept any more. If that is asked for "
            "later, set result_expires to a longer time."
        )


class LeaseLost(MirepoixError):
    """The attempt that calls lost its lease: another may run the task now. Let it end the task.

    A step that raised it may have run; what it returned was not kept. Nothing of this attempt will be recorded.
    """

    def __init__(self, task_id: str, fence: int) -> None:
        self.task_id = task_id
        self.fence = fence
        super().__init__(
            f"Attempt {fence} of task {task_id} lost its lease: its worker was taken for dead, or the task was taken "
            "back. Another attempt may run; this one can record nothing and should end."
        )


class StepNotStored(MirepoixError):
    """A step ran, with all its effects, and what it returned could not be kept: the next attempt runs it again."""

    def __init__(self, task_id: str, step: str, reason: str) -> None:
        self.task_id = task_id
        self.step = step
        self.reason = reason
        super().__init__(
            f"The step {step!r} of task {task_id} ran, but what it returned could not be stored: {reason} "
            "Another attempt will run this step again."
        )


class OutcomeRefused(MirepoixError):
    """The ledger's database does not take what an attempt was to record, and never will: the attempt failed.

    Its code ran to its end; nothing that it returned, or sent at its end, is kept.
    """


class UpcastFailed(MirepoixError):
    """An upcaster raised, or returned what are no arguments. The task is parked: no code of it has run."""

    def __init__(self, task_name: str, from_version: int, why: str) -> None:
        self.task_name = task_name
        self.from_version = from_version
        self.why = why
        super().__init__(f"The upcaster of {task_name} from version {from_version} failed: {why}.")


class SchemaError(MirepoixError):
    """The ledger's tables are missing or of another version."""


class WrittenThroughOrm(MirepoixError):
    """A model of the ledger was to be saved, changed or deleted through Django's ORM. Nothing was written."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} cannot be written through Django's models: they only read, the ledger is Mirepoix' own. Decide "
            "about tasks with manage.py mirepoix retry, requeue, cancel or discard, or the actions in the admin; old "
            "ones are deleted by manage.py mirepoix prune."
        )


class CoroutineCancelled(MirepoixError):
    """The coroutine of a task ended with ``asyncio.CancelledError``, which its own code had caused: a failure."""


class LedgerAway(MirepoixError, ConnectionError):
    """The ledger's database cannot be reached. Celery's worker connects again for it, as for a lost broker."""


class BrokerAway(MirepoixError, ConnectionError):
    """The broker cannot be reached, or does not confirm. Nothing is lost: tasks wait in the ledger until it can."""

    def __init__(self, where: str, why: object) -> None:
        self.where = where
        super().__init__(f"{where} cannot be reached ({str(why).strip() or type(why).__name__})")


class NoWorker(MirepoixError):
    """A task queue was consumed without a worker that could hold its leases."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"Tasks of queue {queue!r} can only be taken by a Celery worker of an app on which mirepoix.install() "
            "was called: a lease needs a worker that renews it."
        )
