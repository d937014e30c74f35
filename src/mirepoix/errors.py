"""Everything Mirepoix raises on purpose, as one tree.

::

    MirepoixError
    ├── ConfigurationError          the installation cannot work as written
    │   ├── UnsupportedDatabase     Mirepoix cannot use this database for its ledger
    │   ├── SessionsNotKept         a worker is behind a pooler that gives each transaction another session
    │   ├── MissingLibrary          a library that the ledger's database needs is not installed
    │   └── NewerLockFormat         a newer Mirepoix wrote the signature lock
    ├── EnqueueError                the call was refused before anything was written
    │   ├── PayloadTooLarge
    │   ├── PayloadNotSerializable
    │   ├── InvalidTaskId
    │   ├── TaskIdTaken             an unfinished task has this id and other arguments
    │   ├── KeyTaken                another call was submitted under this key
    │   ├── NotUnique               a unique task is there already
    │   └── InvalidOption           the ledger, the broker or a worker cannot take an option of the call
    ├── ResultGone                  a task has ended, and its result is no longer kept
    ├── LeaseLost                   an attempt lost its lease and may no longer write
    ├── StepNotStored               a step ran, and its return value could not be stored
    ├── OutcomeRefused              the database refused the outcome of an attempt; the attempt failed
    ├── UpcastFailed                an upcaster raised, or did not return arguments; the task is parked
    ├── SchemaError                 the ledger's tables are missing or have another version
    ├── WrittenThroughOrm           a model of the ledger was saved or deleted; only Mirepoix writes the ledger
    ├── CoroutineCancelled          an async def task ended with CancelledError, and no limit or signal was the cause
    ├── LedgerAway                  a worker or client lost its connection to the ledger (a ConnectionError)
    ├── BrokerAway                  the broker cannot be reached; tasks wait in the ledger (a ConnectionError)
    ├── TemporalAway                Temporal's server cannot be reached; starts and signals wait in the ledger
    └── NoWorker                    a task queue was consumed outside a worker

A refusal (a lost lease, a task that is no longer waiting) is a return value, not an exception. Only user code that
runs on without its lease gets an exception, `LeaseLost`.
"""

from __future__ import annotations

from typing import Any


class MirepoixError(Exception):
    """The base of every error that Mirepoix raises on purpose.

    These errors can be pickled, because pools send the errors of tasks from process to process.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ calls the class with the message. Most of these classes take facts instead.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls: type[MirepoixError], args: tuple[Any, ...], attributes: dict[str, Any]) -> MirepoixError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(MirepoixError):
    """The installation cannot work as it is configured. The message names the remedy."""


class UnsupportedDatabase(ConfigurationError):
    """Mirepoix cannot keep its ledger in the database of this URL or connection."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} is not a database Mirepoix can keep its ledger in. Use sqlite:///path.db, "
            "postgresql://user:password@host/database (install 'mirepoix[postgres]') or "
            "mysql://user:password@host/database (MariaDB or MySQL; install 'mirepoix[mysql]')."
        )


class SessionsNotKept(ConfigurationError):
    """A worker cannot use a pooler that gives each transaction another session."""

    def __init__(self, label: str) -> None:
        self.label = label
        super().__init__(
            f"{label} leads to a pooler that gives each transaction another session of the server (pgbouncer: "
            "pool_mode = transaction). A worker needs its own sessions, for its liveness lock and for notifications. "
            "Give workers the server's own address, or a pool with pool_mode = session: mirepoix_worker_url (in "
            "Django CELERY_MIREPOIX_WORKER_URL) = 'postgresql://user:password@host:port/database'. Programs that "
            "only send may stay on the pooler. See docs/how-to/connections.md."
        )


class MissingLibrary(ConfigurationError):
    """A library that Mirepoix needs for this database or framework cannot be imported."""

    def __init__(self, library: str, extra: str, why: str = "is not installed") -> None:
        self.library = library
        self.extra = extra
        self.remedy = f"pip install 'mirepoix[{extra}]'"
        super().__init__(f"The library {library!r} {why}. Run: {self.remedy}")


class NewerLockFormat(ConfigurationError):
    """A newer Mirepoix wrote the signature lock, in a format that this version cannot read."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"The signature lock has format {found}, and this Mirepoix reads formats up to {known}. Upgrade Mirepoix "
            "to the version that wrote the lock."
        )


class EnqueueError(MirepoixError):
    """The call was refused before anything was written. The ledger has no row of it."""


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
    """The arguments cannot be written as JSON, or the ledger refuses the serializer."""

    def __init__(self, task_name: str, reason: str) -> None:
        self.task_name = task_name
        self.reason = reason
        super().__init__(f"{task_name} cannot be sent: {reason}")


class InvalidTaskId(EnqueueError):
    """A task id, task name or queue name does not fit its column."""

    def __init__(self, what: str, value: str, reason: str) -> None:
        self.what = what
        self.value = value
        super().__init__(f"The {what} {value!r} cannot be stored: {reason}")


class InvalidOption(EnqueueError, ValueError):
    """The ledger, the broker or a worker cannot take an option of the call."""

    def __init__(self, task_name: str, what: str) -> None:
        self.task_name = task_name
        super().__init__(f"{task_name} cannot be sent: {what}. Nothing was sent.")


class TaskIdTaken(EnqueueError):
    """An unfinished task has this id and other arguments. If both were sent, one of them would be lost."""

    def __init__(self, task_name: str, task_id: str, taken_by: str) -> None:
        self.task_name = task_name
        self.task_id = task_id
        self.taken_by = taken_by
        super().__init__(
            f"{task_name} cannot be sent as task {task_id!r}: {taken_by} has that id and other arguments, and has not "
            "finished. Leave task_id out, or build it from what distinguishes the two calls. To send a group or chord "
            "several times, clone() it."
        )


class KeyTaken(EnqueueError):
    """Another call was submitted under this key. Nothing was sent. The message contains no argument's value."""

    def __init__(self, key: str, task_name: str, task_id: str, differences: str) -> None:
        self.key = key
        self.task_name = task_name
        self.task_id = task_id
        self.differences = differences
        super().__init__(
            f"{task_name} cannot be submitted under the key {key!r}, which stands for another call, task {task_id}: "
            f"{differences}. Nothing was sent. A key stands for one call; build it from what distinguishes the two."
        )


class NotUnique(EnqueueError):
    """A task with the same key is there already, and the policy of the unique task is to refuse. Nothing was sent."""

    def __init__(self, task_name: str, task_id: str, state: str) -> None:
        self.task_name = task_name
        self.task_id = task_id
        self.state = state
        super().__init__(f"{task_name} is unique, and task {task_id} with the same key is {state}. Nothing was sent.")


class ResultGone(MirepoixError):
    """A task has ended, and its result is not kept: it was forgotten, it expired or the task ignores results."""

    def __init__(self, task_id: str, state: str) -> None:
        self.task_id = task_id
        self.state = state
        super().__init__(
            f"Task {task_id} is {state}, and its result is no longer kept. To keep results for longer, raise "
            "result_expires."
        )


class LeaseLost(MirepoixError):
    """The calling attempt lost its lease, and another attempt may run now. Do not catch this error.

    If a step raised it, the step may have run, and its return value was not stored. Mirepoix records nothing more of
    this attempt.
    """

    def __init__(self, task_id: str, fence: int) -> None:
        self.task_id = task_id
        self.fence = fence
        super().__init__(
            f"Attempt {fence} of task {task_id} lost its lease: its worker was declared dead, or the task was taken "
            "back. Another attempt may run. This attempt can record nothing and should end."
        )


class StepNotStored(MirepoixError):
    """A step ran, and its return value could not be stored. The next attempt runs the step again."""

    def __init__(self, task_id: str, step: str, reason: str) -> None:
        self.task_id = task_id
        self.step = step
        self.reason = reason
        super().__init__(
            f"The step {step!r} of task {task_id} ran, but its return value could not be stored: {reason} "
            "Another attempt will run this step again."
        )


class OutcomeRefused(MirepoixError):
    """The ledger's database refused the outcome of an attempt and would refuse it again. The attempt failed.

    Its code ran to the end. Its return value, and the tasks that it sent at its end, are not kept.
    """


class UpcastFailed(MirepoixError):
    """An upcaster raised, or did not return arguments. The task is parked, and none of its code has run."""

    def __init__(self, task_name: str, from_version: int, why: str) -> None:
        self.task_name = task_name
        self.from_version = from_version
        self.why = why
        super().__init__(f"The upcaster of {task_name} from version {from_version} failed: {why}.")


class SchemaError(MirepoixError):
    """The ledger's tables are missing or have another version."""


class WrittenThroughOrm(MirepoixError):
    """Code tried to save, change or delete a model of the ledger through Django's ORM. Nothing was written."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} cannot be written through Django's models: they only read, and only Mirepoix writes the ledger. "
            "Decide about tasks with manage.py mirepoix retry, requeue, cancel or discard, or with the admin's "
            "actions. Delete old tasks with manage.py mirepoix prune."
        )


class CoroutineCancelled(MirepoixError):
    """A task's coroutine ended with ``asyncio.CancelledError``, and its own code was the cause. The task failed."""


class LedgerAway(MirepoixError, ConnectionError):
    """The ledger's database cannot be reached. Celery's worker reconnects, as it does for a lost broker."""


class BrokerAway(MirepoixError, ConnectionError):
    """The broker cannot be reached, or does not confirm. Nothing is lost, because tasks wait in the ledger."""

    def __init__(self, where: str, why: object) -> None:
        self.where = where
        super().__init__(f"{where} cannot be reached ({str(why).strip() or type(why).__name__})")


class TemporalAway(MirepoixError, ConnectionError):
    """Temporal's server cannot be reached, or is too busy. Nothing is lost: the task that delivers to it is retried."""

    def __init__(self, where: str, why: object) -> None:
        self.where = where
        super().__init__(f"{where} cannot be reached ({str(why).strip() or type(why).__name__})")


class NoWorker(MirepoixError):
    """A task queue was consumed without a worker that can hold leases."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"Only a Celery worker of an app on which mirepoix.install() was called can take tasks of queue {queue!r}: "
            "a lease needs a worker that renews it."
        )
