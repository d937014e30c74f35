"""Everything Mirepoix raises on purpose, as one tree.

::

    MirepoixError
    ├── ConfigurationError          the installation cannot work as written
    │   └── UnsupportedDatabase     a URL or connection of a database that no ledger speaks
    ├── EnqueueError                the call was refused before anything was written
    │   ├── PayloadTooLarge
    │   ├── PayloadNotSerializable
    │   └── InvalidTaskId
    ├── SchemaError                 the ledger's tables are missing or of another version
    ├── CoroutineCancelled          an async def task ended with CancelledError, which no limit or signal had caused
    ├── LedgerAway                  a worker's or client's connection to the ledger was lost (a ConnectionError)
    └── NoWorker                    a task queue was consumed outside a worker

A refusal (a lost lease, a task that is no longer waiting) is a value, never an exception.
"""

from __future__ import annotations


class MirepoixError(Exception):
    """The base of every error that Mirepoix raises on purpose."""


class ConfigurationError(MirepoixError):
    """The installation cannot work as it is written; the message names the remedy."""


class UnsupportedDatabase(ConfigurationError):
    """A URL or a connection belongs to a database that no ledger speaks."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} is not a database Mirepoix can keep its ledger in. Use sqlite:///path.db or "
            "postgresql://user:password@host/database (install 'mirepoix[postgres]')."
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


class SchemaError(MirepoixError):
    """The ledger's tables are missing or of another version."""


class CoroutineCancelled(MirepoixError):
    """The coroutine of a task ended with ``asyncio.CancelledError``, which its own code had caused: a failure."""


class LedgerAway(MirepoixError, ConnectionError):
    """The ledger's database cannot be reached. Celery's worker connects again for it, as for a lost broker."""


class NoWorker(MirepoixError):
    """A task queue was consumed without a worker that could hold its leases."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"Tasks of queue {queue!r} can only be taken by a Celery worker of an app on which mirepoix.install() "
            "was called: a lease needs a worker that renews it."
        )
