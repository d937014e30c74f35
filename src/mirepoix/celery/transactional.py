"""Transactional tasks: a task's own database writes, its outcome and what it sends commit together, behind the fence.

::

    BEGIN    the lease is looked at; user code runs; what it sends joins
    COMMIT   it returned, or raised Ignore (replace() does): with outcome, result, links, parts of chords
    ROLLBACK it raised (retry() does), or its lease was lost

A failure and a retry are recorded after the ROLLBACK, in a transaction of their own. A COMMIT that the database refuses
for reasons of the moment (a serialisation failure, a lost connection) has left nothing, so the task runs again; one
that is refused for what the task wrote (a deferred constraint) is the task's failure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore
from kombu.exceptions import EncodeError

from mirepoix.celery import attempt as attempts
from mirepoix.celery.attempt import Attempt, Refused
from mirepoix.connect.begun import Begun
from mirepoix.connect.source import Source
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import finish, reap
from mirepoix.ledger.tx import Tx
from mirepoix.records import Completion, Trouble

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

logger = logging.getLogger("mirepoix.attempt")

AGAIN_AFTER_S = 0.05
"""How long a task waits whose COMMIT the database refused for reasons of the moment."""

_running: ContextVar[Begun | None] = ContextVar("mirepoix_running_transaction", default=None)


class CommitRefused(EncodeError):  # type: ignore[misc]
    """The database refused the COMMIT of a transactional task for what it wrote: nothing of it is left.

    It is an EncodeError of kombu's, since for that Celery records a failure although user code returned.
    """


def transaction() -> Any:
    """What the running transactional task writes with: its Session, or its connection.

    An SQLAlchemy Session or Connection with ``mirepoix.install(session_factory=...)``, Django's connection with a
    ledger in Django's database, else the driver's own connection to the ledger. Never commit, roll back or close it.
    Raises ConfigurationError outside of a transactional task.
    """
    begun = _running.get()
    if begun is None:
        raise ConfigurationError(
            "mirepoix.transaction() was called outside of a transactional task. Mark the task: "
            "@app.task(transactional=True)."
        )
    return begun.handle


def check(task: Any) -> None:
    """Refuse what cannot work: ConfigurationError."""
    if getattr(task, "transactional", False) and vars(task).get("_mirepoix_coroutine"):
        raise ConfigurationError(
            f"The task {task.name} is transactional and an async def: a transaction of Django or SQLAlchemy belongs "
            "to one thread and cannot be awaited. Make it a plain def, or leave transactional out and use "
            "mirepoix.using()."
        )


def run(task: Any, call: Callable[[], Any]) -> Any:
    """Run the code of a transactional task. In an attempt, its transaction stays open until the outcome is known."""
    if _running.get() is not None:  # called as a function by another one: part of that
        return call()
    attempt = attempts.current()
    if (
        attempt is None
        or attempt.installation is None
        or attempt.lease.task_id != task.request.id
        or task.request.is_eager
    ):
        return _run_alone(task, call)
    return _run_in(attempt, attempt.installation, call)


def _run_in(attempt: Attempt, installation: Installation, call: Callable[[], Any]) -> Any:
    unit = UnitOfWork(installation, attempt)
    attempt.transaction = unit
    try:
        with unit.joined(), attempts.user_code():
            return call()
    except Ignore:
        attempts.conclude_ignored(installation, attempt)
        raise
    except BaseException:
        attempt.transaction = None
        unit.roll_back()
        raise


def _run_alone(task: Any, call: Callable[[], Any]) -> Any:
    """Eagerly, or called as a function: there is no outcome to commit with."""
    begun = task.app.mirepoix.begin()
    try:
        with _joined(begun), attempts.user_code():
            try:
                result = call()
            except Ignore:
                begun.prepare()
                begun.commit()
                raise
        begun.prepare()
    except Ignore:
        raise
    except BaseException:
        begun.roll_back()
        raise
    begun.commit()
    return result


class UnitOfWork:
    """The transaction of one attempt."""

    def __init__(self, installation: Installation, attempt: Attempt) -> None:
        self._installation = installation
        self._attempt = attempt
        self._begun = installation.begin()
        try:
            is_held = self._begun.tx.fetch(
                "look_at_lease",
                task_id=attempt.lease.task_id,
                fence=attempt.lease.fence,
                worker_id=attempt.lease.worker_id,
            )
        except BaseException:
            self._begun.roll_back()
            raise
        if not is_held:
            self._begun.roll_back()
            logger.warning("task %s[%s] does not begin: its lease was lost", attempt.name, attempt.lease.task_id)
            raise Refused

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Around user code."""
        with _joined(self._begun):
            yield

    def conclude(self, write: Callable[[Tx], bool]) -> bool:
        """Write the outcome and COMMIT; False, and ROLLBACK, if it was refused.

        Raises CommitRefused if what the task wrote is why; Refused if it is to run again.
        """
        try:
            self._begun.prepare()
            if not write(self._begun.tx):
                self._begun.roll_back()
                return False
            self._begun.commit()
        except Exception as error:
            self._begun.roll_back()
            self._attempt.forget_success()
            if self._is_settled(error):
                return True
            if not _is_of_the_moment(error, self._installation.source):
                raise CommitRefused(f"{type(error).__name__}: {str(error).strip()}") from error
            self._run_again(error)
            raise Refused from error
        return True

    def roll_back(self) -> None:
        """Leave nothing of it."""
        self._begun.roll_back()

    def _is_settled(self, error: Exception) -> bool:
        """Whether the COMMIT arrived although its answer did not."""
        if not _is_of_the_moment(error, self._installation.source):
            return False
        lease = self._attempt.lease
        return attempts.persist(self._installation, self._attempt, "outcome", lambda tx: finish.is_settled(tx, lease))

    def _run_again(self, error: Exception) -> None:
        attempt, settings = self._attempt, self._installation.settings
        trouble = Trouble(f"its COMMIT was refused, nothing of it is left: {str(error).strip()}", type(error).__name__)

        def write(tx: Tx) -> bool:
            lost = reap.lose(
                tx, attempt.lease, trouble, settings, is_blamed=False, outcome="rolled back", delay_s=AGAIN_AFTER_S
            )
            return lost is not None

        logger.warning("task %s[%s] runs again: %s", attempt.name, attempt.lease.task_id, trouble.reason)
        attempts.persist(self._installation, attempt, "rollback", write)
        attempt.transaction = None
        attempt.is_over = True


class Committing:
    """A result backend that is not ours, during a transactional task: it hears of the success after the COMMIT."""

    def __init__(self, backend: Any, attempt: Attempt, installation: Installation) -> None:
        self._backend = backend
        self._attempt = attempt
        self._installation = installation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def mark_as_done(self, *args: Any, **kwargs: Any) -> Any:
        """Commit, then let the backend store the result. Raises Refused if it is a zombie's."""
        attempts.conclude(self._installation, self._attempt, Completion(self._attempt.lease))
        return self._backend.mark_as_done(*args, **kwargs)


@contextmanager
def _joined(begun: Begun) -> Iterator[None]:
    token = _running.set(begun)
    try:
        with begun.joined():
            yield
    finally:
        _running.reset(token)


def _is_of_the_moment(error: BaseException | None, source: Source) -> bool:
    """Whether the database may take the same transaction another time."""
    while error is not None:
        if isinstance(error, source.disconnects):
            return True
        error = getattr(error, "orig", None) or error.__cause__
    return False
