"""Transactional tasks: a task's own database writes, its outcome and what it sends commit together, behind the fence.

::

    BEGIN    check the lease; run user code; what it sends joins the transaction
    COMMIT   it returned, or raised Ignore (as replace() does): with outcome, result, links, parts of chords
    ROLLBACK it raised (as retry() does), or its lease was lost

A failure and a retry are recorded after the ROLLBACK, in a transaction of their own. The database may refuse a BEGIN or
COMMIT for a temporary reason (a serialisation failure, a lost connection). Then nothing was written, and the task runs
again. It may refuse a COMMIT because of what the task wrote (a deferred constraint). Then the task has failed. After an
error in the COMMIT, the ledger is read first: the COMMIT may have arrived, or the error may have come after it.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore

from mirepoix.celery import context, errbacks, outcome
from mirepoix.celery.context import Attempt
from mirepoix.celery.outcome import Refused
from mirepoix.connect import ambient
from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.connect.verdict import Verdict, verdict
from mirepoix.errors import ConfigurationError, SchemaError
from mirepoix.ledger import finish, reap, take
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, LostTask
from mirepoix.sql.columns import Row
from mirepoix.states import AttemptOutcome, State

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

from mirepoix.celery.transactional import CommitRefused, running_transaction

logger = logging.getLogger("mirepoix.attempt")

AGAIN_AFTER_S = (0.05, 0.5)
"""The shortest and the longest wait of a task after the database refused its COMMIT for a temporary reason. The wait is
random, so that tasks that conflicted do not conflict again."""

BEGIN_AFTER_S = (1.0, 2.0)
"""The shortest and the longest wait of a task after its transaction could not begin."""


def run(task: Any, call: Callable[[], Any]) -> Any:
    """Run the code of a transactional task. In an attempt, its transaction stays open until the outcome is known."""
    if running_transaction.get() is not None:  # another transactional task calls it as a function, and commits it
        return call()
    attempt = context.current()
    if (
        attempt is None
        or attempt.installation is None
        or attempt.lease.task_id != task.request.id
        or task.request.is_eager
    ):
        return _run_alone(task, call)
    return _run_in(attempt, attempt.installation, call)


def independent_transaction(installation: Installation, attempt: Attempt | None) -> AbstractContextManager[Tx]:
    """A short transaction for what a running task reports.

    If the task's own transaction is a snapshot, that one is used: it could not commit after another one wrote the row.
    """
    if attempt is not None and isinstance(attempt.transaction, UnitOfWork) and attempt.transaction.is_snapshot:
        return nullcontext(attempt.transaction.tx)
    return ambient.independent_transaction(installation.source)


def _run_in(attempt: Attempt, installation: Installation, call: Callable[[], Any]) -> Any:
    unit = UnitOfWork(installation, attempt)
    attempt.transaction = unit
    try:
        with unit.as_current(), context.user_code():
            return call()
    except Ignore:
        outcome.conclude_ignored(installation, attempt)
        raise
    except BaseException:
        attempt.transaction = None
        unit.roll_back()
        raise


def _run_alone(task: Any, call: Callable[[], Any]) -> Any:
    """Run it in a transaction without an outcome: it is eager, or called as a function."""
    transaction = task.app.mirepoix.begin()
    ignored = None
    try:
        with _joined(transaction), context.user_code():
            try:
                result = call()
            except Ignore as error:
                ignored = error
        transaction.prepare()
        transaction.commit()
    except BaseException:
        transaction.roll_back()
        raise
    if ignored is not None:
        raise ignored
    return result


class UnitOfWork:
    """The transaction of one attempt."""

    def __init__(self, installation: Installation, attempt: Attempt) -> None:
        self._installation = installation
        self._attempt = attempt
        self.is_snapshot = False
        """Whether it reads the database as it was at its start, and cannot write to rows that changed since."""
        try:
            self._begin()
        except ConfigurationError:
            raise
        except Exception as error:
            if not self._is_temporary(error):
                raise
            self._run_again("its transaction could not begin", error, BEGIN_AFTER_S)
            raise Refused from error

    @property
    def tx(self) -> Tx:
        """The transaction, for the ledger's own statements."""
        return self._begun.tx

    def _begin(self) -> None:
        self._begun = self._installation.begin()
        try:
            if self._must_note_start_first():
                # Its worker would note the start meanwhile, and then this transaction could never write the outcome.
                self._begun.roll_back()
                self._note_start()
                self._begun = self._installation.begin()
                self._must_note_start_first()
        except BaseException:
            self._begun.roll_back()
            raise

    def _must_note_start_first(self) -> bool:
        found = self._read_lease(self._begun.tx)
        if not found:
            self._refuse()
        self.is_snapshot = bool(found[0].is_snapshot)
        return self.is_snapshot and not found[0].is_started

    def _read_lease(self, tx: Tx) -> list[Row]:
        lease = self._attempt.lease
        try:
            return tx.fetch("look_at_lease", task_id=lease.task_id, fence=lease.fence, worker_id=lease.worker_id)
        except SchemaError as error:
            raise ConfigurationError(f"{_ANOTHER_DATABASE} {error}") from error

    def _refuse(self) -> None:
        attempt, installation = self._attempt, self._installation
        self._begun.roll_back()  # on SQLite it locks the file, and the next transaction would wait for it
        if installation.session_factory is not None:
            with installation.source.independent_transaction() as tx:
                if self._read_lease(tx):
                    raise ConfigurationError(_ANOTHER_DATABASE)
        logger.warning("task %s[%s] does not begin: its lease was lost", attempt.name, attempt.lease.task_id)
        raise Refused

    def _note_start(self) -> None:
        lease = self._attempt.lease
        outcome.persist(
            self._installation,
            self._attempt,
            "start",
            lambda tx: bool(take.start(tx, lease.worker_id, [(lease, 0.0, os.getpid())])),
        )

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """Make it the current transaction inside the block, which runs user code."""
        with _joined(self._begun):
            yield

    def conclude(self, write: Callable[[Tx], bool]) -> bool:
        """Write the outcome and COMMIT. If the outcome is refused, ROLLBACK and return False.

        Raises CommitRefused if the database refuses what the task wrote, and Refused if the task runs again.
        """
        is_committing = False
        try:
            self._begun.prepare()
            if not write(self._begun.tx):
                self._begun.roll_back()
                return False
            is_committing = True
            with context.user_code():  # functions that the task registered for after the COMMIT are user code
                self._begun.commit()
        except Exception as error:
            self._begun.roll_back()
            if is_committing and self._is_settled():
                logger.exception(
                    "task %s[%s] is committed; after that there was an error", self._attempt.name, self._task_id
                )
                return True
            self._attempt.forget_success()
            self._attempt.again = None
            if not self._is_temporary(error):
                raise CommitRefused(f"{type(error).__name__}: {str(error).strip()}") from error
            self._run_again("its COMMIT was refused, and all it wrote is rolled back", error, AGAIN_AFTER_S)
            raise Refused from error
        except BaseException:
            self._begun.roll_back()
            raise
        return True

    def roll_back(self) -> None:
        self._begun.roll_back()

    @property
    def _task_id(self) -> str:
        return self._attempt.lease.task_id

    def _is_settled(self) -> bool:
        """Whether the COMMIT arrived: its answer may have been lost, or the error may have come after it."""
        lease = self._attempt.lease
        return outcome.persist(self._installation, self._attempt, "outcome", lambda tx: finish.is_settled(tx, lease))

    def _run_again(self, what: str, error: Exception, after_s: tuple[float, float]) -> None:
        attempt, settings = self._attempt, self._installation.settings
        failure = AttemptFailure(f"{what}: {str(error).strip()}", type(error).__name__, pid=os.getpid())

        lost: LostTask | None = None

        def write(tx: Tx) -> bool:
            nonlocal lost
            delay_s = random.uniform(*after_s)
            lost = reap.lose(
                tx,
                attempt.lease,
                failure,
                settings,
                is_blamed=False,
                outcome=AttemptOutcome.ROLLED_BACK,
                delay_s=delay_s,
            )
            errbacks.send_if_quarantined(self._installation, tx, lost, failure.reason)
            return lost is not None

        logger.warning("task %s[%s] is rolled back: %s", attempt.name, attempt.lease.task_id, failure.reason)
        outcome.persist(self._installation, attempt, "rollback", write)
        if lost is not None and lost.state == State.QUARANTINED:
            logger.error("task %s[%s] is quarantined: %s", lost.name, lost.task_id, failure.reason)
        attempt.transaction = None
        attempt.is_over = True

    def _is_temporary(self, error: BaseException) -> bool:
        """Whether the database may accept the same transaction later."""
        return verdict(error, self._installation.passing_errors) is Verdict.PASSES


class Committing:
    """Wraps a result backend that is not ours during a transactional task: it receives the success after the COMMIT."""

    def __init__(self, backend: Any, attempt: Attempt, installation: Installation) -> None:
        self._backend = backend
        self._attempt = attempt
        self._installation = installation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def mark_as_done(self, *args: Any, **kwargs: Any) -> Any:
        """Commit, then let the backend store the result. Raises Refused if the lease was lost."""
        if self._attempt.discard_success_if_asked_again():
            return None
        outcome.conclude(self._installation, self._attempt, Completion(self._attempt.lease))
        return self._backend.mark_as_done(*args, **kwargs)


@contextmanager
def _joined(transaction: TaskTransaction) -> Iterator[None]:
    token = running_transaction.set(transaction)
    try:
        with transaction.as_current():
            yield
    finally:
        running_transaction.reset(token)


_ANOTHER_DATABASE = (
    "The session_factory of mirepoix.install() belongs to another database than the ledger: what a transactional task "
    "writes could not be committed with its outcome. Nothing was written. Give the ledger that database's URL, or "
    "leave transactional out."
)
