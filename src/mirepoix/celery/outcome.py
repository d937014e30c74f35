"""Record the outcome of an attempt, with all that it sends, in one transaction behind the fence.

If the attempt lost its lease, nothing of this is recorded.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from traceback import format_tb
from typing import TYPE_CHECKING, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from celery import states

from mirepoix.celery import chords, errbacks
from mirepoix.celery.context import Attempt, running
from mirepoix.celery.pool.current import apart
from mirepoix.connect.verdict import Verdict, first_line, verdict, wants_connections
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import OutcomeRefused
from mirepoix.ledger import finish, reap, results, workers
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, IncompatibilityKind, Lease, LostTask
from mirepoix.states import AttemptOutcome

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.attempt")
T = TypeVar("T")

CONNECTIONS_NEEDED = (
    "\nThe database takes no more connections. A worker needs 6, and for each process or thread of its pool 1, or 2 if "
    "it runs transactional tasks (docs/reference/database-errors.md)."
)


class Refused(BaseException):
    """The attempt had lost its lease: nothing of it was written.

    This is no subclass of Exception, since Celery must not handle it.
    """


def conclude(installation: Installation, attempt: Attempt, completion: Completion) -> None:
    """Commit a success in the process that ran the task; raise Refused if the lease was lost."""
    done = replace(completion, run_time_s=round(time.monotonic() - attempt.began_at, 6), pid=os.getpid())
    if not succeed(installation, attempt, done):
        raise Refused


def conclude_ignored(installation: Installation, attempt: Attempt) -> None:
    """Commit a transactional task that raised Ignore, as replace() does; raise Refused if the lease was lost."""
    if attempt.again is not None:
        is_accepted = run_again(installation, attempt, AttemptFailure("replaced", name=attempt.name))
    else:
        done = Completion(attempt.lease, reason="ignored by the task", pid=os.getpid())
        is_accepted = succeed(installation, attempt, done)
    if not is_accepted:
        raise Refused


def succeed(installation: Installation, attempt: Attempt, completion: Completion) -> bool:
    """Commit a success, its results and its continuations, or nothing."""
    return _settle(
        installation, attempt, "success", lambda tx: finish.succeed_with(tx, completion, attempt.continuations)
    )


def fail(installation: Installation, attempt: Attempt, failure: AttemptFailure) -> bool:
    """Commit a failure and its errbacks, or nothing."""
    failure = replace(failure, release=installation.settings.release)
    return _settle(
        installation, attempt, "failure", lambda tx: finish.fail(tx, attempt.lease, failure, attempt.continuations)
    )


def run_again(installation: Installation, attempt: Attempt, failure: AttemptFailure) -> bool:
    """Commit that the task runs again, from the message that it sent under its own id."""
    again = attempt.again
    if again is None:
        raise RuntimeError(f"{attempt.name}[{attempt.lease.task_id}] asked to run again without a message")
    failure = replace(failure, release=installation.settings.release)
    return _settle(
        installation,
        attempt,
        "retry",
        lambda tx: finish.retry(tx, attempt.lease, again, failure, attempt.continuations),
    )


def park(
    installation: Installation,
    lease: Lease,
    name: str,
    failure: AttemptFailure,
    error: Exception,
    lacking: IncompatibilityKind | None = None,
    shape: str | None = None,
) -> None:
    """Commit that no code in this worker can run the task.

    *lacking* is what this worker lacks and another release may have, and *shape* is what the task calls. With
    *lacking*, those who wait for the result get a failure only after ``parked_failure_after_s``. Without it they get
    the failure at once; it stands until the task is requeued.
    """
    logger.error("task %s[%s] is parked: %s", name, lease.task_id, failure.reason)
    attempt = Attempt(lease, name)
    backend = installation.app.backend
    with running(attempt):
        try:
            if lacking is None or not getattr(backend, "reports_parked", False):
                backend.store_result(lease.task_id, error, states.FAILURE)
        except Exception:  # the app may have a result backend of its own, which can raise anything
            logger.exception("the result of the parked task %s[%s] cannot be stored", name, lease.task_id)
    _settle(installation, attempt, "parking", lambda tx: finish.park(tx, lease, failure, lacking, shape))


def record_unseen_death(installation: Installation, lease: Lease, name: str) -> None:
    """Commit that a pool process died with the attempt before its parent read that the attempt began."""
    failure = AttemptFailure("its process died before its parent had read that it began", "WorkerLostError")
    settings = installation.settings
    taken_back: list[LostTask] = []

    def write(tx: Tx) -> bool:
        is_blamed = not workers.is_stopping(tx, lease.worker_id)  # a stop kills the processes of a pool
        lost = reap.lose(tx, lease, failure, settings, is_blamed=is_blamed, outcome=AttemptOutcome.KILLED)
        taken_back[:] = [] if lost is None else [lost]
        errbacks.send_if_quarantined(installation, tx, lost, failure.reason)
        return lost is not None

    logger.error("task %s[%s] had begun in a process that died", name, lease.task_id)
    _settle(installation, Attempt(lease, name), "death", write)
    if taken_back:
        installation.notify_lost(taken_back)


def revoke(installation: Installation, attempt: Attempt, failure: AttemptFailure, *, is_expired: bool) -> None:
    """Commit that the task was revoked, or expired, while a worker held it."""
    end = finish.expire if is_expired else finish.revoke

    def write(tx: Tx) -> bool:
        if not end(tx, attempt.lease, failure):
            return False
        if not attempt.parts:
            chords.return_ended(installation, tx, [attempt.lease.task_id], failure.reason)
        if is_expired:
            errbacks.send_errbacks(installation, tx, [attempt.lease.task_id], "expired", failure.reason)
        return True

    _settle(installation, attempt, "revocation", write)


def _settle(installation: Installation, attempt: Attempt, what: str, write: Callable[[Tx], bool]) -> bool:
    """Write an outcome with all that belongs to it; return whether the fence accepted it."""
    return apart(partial(_settle_here, installation, attempt, what, write))


def _settle_here(installation: Installation, attempt: Attempt, what: str, write: Callable[[Tx], bool]) -> bool:
    attempt.continuations = installation.promised(attempt.continuations)

    def write_all(tx: Tx, endings: chords.Endings | None = None, refused: Exception | None = None) -> bool:
        if not write(tx):
            return False
        results.store(tx, list(attempt.results.values()), is_outcome=True)
        chords.return_parts(installation, tx, list(attempt.parts.values()), endings, refused)
        reached(Crashpoint.OUTCOME_BEFORE_COMMIT)
        return True

    transaction = attempt.transaction
    if transaction is None:
        try:
            is_accepted = _commit(installation, attempt, what, write_all)
        except Exception as error:  # noqa: BLE001 (what `persist` raises will never be written)
            fail_unwritable(installation, attempt, what, error)
            return False
    else:
        # The transaction contains what the user's code wrote, so it can be tried only once.
        attempt.transaction = None
        is_accepted = transaction.conclude(write_all)
    attempt.is_over = True
    reached(Crashpoint.OUTCOME_AFTER_COMMIT)
    if not is_accepted and not _is_known(installation, attempt):
        logger.warning(
            "the %s of task %s[%s] (attempt %d) was refused: its lease was lost; nothing of it was written or sent",
            what,
            attempt.name,
            attempt.lease.task_id,
            attempt.lease.fence,
        )
    if is_accepted and attempt.continuations:
        installation.announce(attempt.continuations)
    for act in attempt.afterwards if is_accepted else ():
        try:
            act()
        except Exception:
            logger.exception(
                "task %s[%s] is recorded; an action after that failed", attempt.name, attempt.lease.task_id
            )
    return is_accepted


def _commit(installation: Installation, attempt: Attempt, what: str, write: Callable[..., bool]) -> bool:
    try:
        if not attempt.sends_here:
            return persist(installation, attempt, what, write)
        return chords.ending_apart(
            installation, lambda made: persist(installation, attempt, what, partial(write, endings=made))
        )
    except Exception as error:
        if not attempt.parts:
            raise
        # Perhaps only the body of a chord cannot be written. Then the member has succeeded, and the chord has failed.
        return persist(installation, attempt, what, partial(write, refused=error))


def persist(installation: Installation, attempt: Attempt, what: str, write: Callable[[Tx], T]) -> T:
    """Write in a new transaction, and try again until the database accepts it: no outcome may be lost.

    Raises an error that the content causes (`Verdict.CONTENT`): the database would refuse that content every time.
    """
    source = installation.source
    begin = source.transaction
    pause_s = 0.05
    is_first = True
    while True:
        try:
            with begin() as tx:
                answer = write(tx)
        except SoftTimeLimitExceeded:  # the task's own code is over: no limit of it applies here
            continue
        except Exception as error:
            judged = verdict(error, source.disconnects)
            if judged is Verdict.CONTENT:
                raise
            logger.warning(
                "the %s of task %s[%s] cannot be recorded yet, trying again: %s%s",
                what,
                attempt.name,
                attempt.lease.task_id,
                str(error).strip(),
                CONNECTIONS_NEEDED if wants_connections(error) else "",
                exc_info=is_first and judged is Verdict.ELSE,
            )
            if wants_connections(error) and installation.worker is not None:
                installation.worker.scarcity.note()
        else:
            if installation.worker is not None:
                installation.worker.spare_connections()
            return answer
        is_first = False
        # User code may have left Django's connection in a state in which nothing can be written on it.
        begin = source.independent_transaction
        with suppress(SoftTimeLimitExceeded):
            time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)


def fail_unwritable(installation: Installation, attempt: Attempt, what: str, error: Exception) -> None:
    """Commit that the attempt failed, since the database will never accept what the attempt had to record."""
    name, task_id = attempt.name, attempt.lease.task_id
    refusal = OutcomeRefused(f"its {what} cannot be written: {first_line(error)}")
    logger.error("task %s[%s] fails: %s", name, task_id, refusal)
    parts = [*attempt.parts.values()]
    attempt.forget_success()
    attempt.again = None
    kind = f"{OutcomeRefused.__module__}.{OutcomeRefused.__qualname__}"
    failure = AttemptFailure(
        str(refusal), kind, f"{''.join(format_tb(error.__traceback__))}{first_line(error)}", pid=os.getpid()
    )
    with running(attempt):
        try:
            installation.app.backend.store_result(task_id, refusal, states.FAILURE)
        except Exception:  # the app may have a result backend of its own, which can raise anything
            logger.exception("the result of task %s[%s] cannot be stored", name, task_id)

    def fail_with_all(tx: Tx) -> bool:
        if not finish.fail(tx, attempt.lease, failure):
            return False
        results.store(tx, list(attempt.results.values()), is_outcome=True)
        chords.return_failed(installation, tx, parts, refusal)
        reached(Crashpoint.REFUSE_BEFORE_COMMIT)
        return True

    def fail_alone(tx: Tx) -> bool:
        return finish.fail(tx, attempt.lease, failure)

    try:
        persist(installation, attempt, "failure", fail_with_all)
    except Exception:
        logger.exception("the failure of task %s[%s] cannot be stored as its result", name, task_id)
        persist(installation, attempt, "failure", fail_alone)
    attempt.is_over = True
    reached(Crashpoint.REFUSE_AFTER_COMMIT)


def fail_unwritable_completion(installation: Installation, completion: Completion, error: Exception) -> None:
    """Do what `fail_unwritable` does, for a success that a worker's parent had to record."""
    parts = {(part.group_id, part.task_id): part for part in completion.parts}
    fail_unwritable(installation, Attempt(completion.lease, "", parts=parts), "success", error)


def _is_known(installation: Installation, attempt: Attempt) -> bool:
    # The connection may have died after the COMMIT arrived. Then the second try was refused since the first succeeded.
    return persist(installation, attempt, "outcome", lambda tx: finish.is_settled(tx, attempt.lease))
