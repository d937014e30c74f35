"""One execution of a task: what it sends when it is over is held until its outcome, and committed with it.

Celery sends links and the rest of a chain after the user's code returned and before anything is recorded. Those
sends, and whatever ``retry()`` and ``replace()`` send, are *continuations*: kept here, then written in the very
transaction that records the outcome, behind the fence, together with results and parts of chords. What user code sends
by itself is its own business and is written at once (or in the transaction it joined).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from traceback import format_tb
from typing import TYPE_CHECKING, Protocol, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from celery import states

from mirepoix.celery import chords, errbacks
from mirepoix.connect.verdict import Verdict, said, verdict, wants_connections
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import OutcomeRefused
from mirepoix.ledger import finish, reap, results
from mirepoix.ledger.tx import Tx
from mirepoix.records import AttemptFailure, Completion, Envelope, IncompatibilityKind, Lease, Outgoing, Part, Result

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

logger = logging.getLogger("mirepoix.attempt")
T = TypeVar("T")

LARGE_RESULT = 64 * 1024
"""A result longer than this does not go through the pipe to the worker's parent."""

CONNECTIONS_NEEDED = (
    "\nThe database takes no more connections. A worker needs 6, and for each process or thread of its pool 1, or 2 if "
    "it runs transactional tasks (docs/reference/database-errors.md)."
)

_current: ContextVar[Attempt | None] = ContextVar("mirepoix_attempt", default=None)
_OUTCOME = "outcome"

_whose_code: ContextVar[Attempt | str | None] = ContextVar("mirepoix_user_code", default=None)
"""The attempt whose user's code runs in this context; `_OUTCOME` where user code asks for an outcome. Not a flag of the
attempt: a thread or an asyncio task that user code started, and that outlives it, is still the user's code while the
outcome is made."""

_continues: ContextVar[bool | None] = ContextVar("mirepoix_continues", default=None)
"""Whether what is sent in this context follows from a payload; None: ask the attempt."""


@dataclass(slots=True)
class Attempt:
    """What an execution has sent so far, and what it still holds back for its outcome."""

    lease: Lease
    name: str
    continuations: list[Outgoing] = field(default_factory=list)
    again: Envelope | None = None
    """The message it sent under its own id: retry() and replace() do."""
    began_at: float = field(default_factory=time.monotonic)
    installation: Installation | None = None
    """Where its steps are kept; None for one that runs no user code."""
    steps: set[str] = field(default_factory=set)
    """The names of the steps it has done, or is doing."""
    results: dict[str, Result] = field(default_factory=dict)
    """What is to be kept, by task id: its own result, and those of tasks that will not run because it failed."""
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    """The parts of chords that it returns, by chord and member."""
    transaction: OpenTransaction | None = None
    """That of a transactional task, until it is committed or rolled back."""
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    """What is to be done once its outcome is in the ledger."""
    note: str | None = None
    """What its policy made of its error, in words."""
    has_run: bool = True
    """Whether the task's own code is over, or an outcome without it is made. Before that all code is the user's."""
    is_traced: bool = False
    """Whether Celery's tracer is at it: then what is sent has the context of its task."""
    sends_here: bool = False
    """Whether a chord that it is a member of must be ended where its task runs: senders read their context."""
    fail_now: Callable[[], None] | None = None
    """Commits its failure at once, while its task's context is in force."""
    expires: str | None = None
    """When its task expires, by the clock of this host: what a retry of it is sent with."""
    is_over: bool = False
    """Its outcome is in the ledger, or was refused: whatever comes now is no part of it."""

    def keeps(self, item: Outgoing) -> bool:
        """Hold *item* back if it belongs to the outcome; False if it is to be written now."""
        if self.is_over:
            return False
        if isinstance(item, Envelope) and item.id == self.lease.task_id:
            self.again = item
            return True
        if not self.is_making_outcome:
            return False
        self.continuations.append(item)
        return True

    def collects(self, status: str) -> bool:
        """Whether a result with that status belongs to the outcome; False if it is to be written now."""
        is_outcome = status in states.READY_STATES or status == states.RETRY
        return is_outcome and not self.is_over and _whose_code.get() is not self

    @property
    def is_making_outcome(self) -> bool:
        """Whether what is done in this context is part of its outcome."""
        whose = _whose_code.get()
        return not self.is_over and whose is not self and (self.has_run or whose is _OUTCOME)

    def asks_again(self) -> bool:
        """Whether it is to run again, since it called ``retry(throw=False)`` or ``replace()`` before its code ended.

        Then nothing of the end that it came to is kept: the next attempt comes to one.
        """
        if self.is_over or self.again is None:
            return False
        self.forget_success()
        return True

    def forget_success(self) -> None:
        """It failed after its code had returned: nothing of its success may be sent, kept or committed."""
        self.continuations.clear()
        self.results.clear()
        self.parts.clear()
        if self.transaction is not None:
            self.transaction.roll_back()
            self.transaction = None

    @property
    def commits_here(self) -> bool:
        """Whether the process that runs it commits its success; if not, the worker's parent does, with others."""
        # A part of another task's is returned in that one's name, which only this process knows.
        is_for_others = any(part.task_id != self.lease.task_id for part in self.parts.values())
        is_large = sum(len(result.result or "") for result in self.results.values()) > LARGE_RESULT
        has_transaction = self.transaction is not None
        return bool(self.continuations or has_transaction or is_large or is_for_others or self.sends_here)


class OpenTransaction(Protocol):
    """The transaction that a transactional task runs in: its own writes, and the outcome behind the fence."""

    def conclude(self, write: Callable[[Tx], bool]) -> bool:
        """Write the outcome and COMMIT; False, and ROLLBACK, if it was refused. Raises what the COMMIT raises."""

    def roll_back(self) -> None:
        """Leave nothing of it. Never raises."""


class Refused(BaseException):
    """The attempt had lost its lease: nothing of it was written. Not an Exception: Celery must not handle it."""


def current() -> Attempt | None:
    """The attempt that runs in this context, or None."""
    return _current.get()


@contextmanager
def running(attempt: Attempt) -> Iterator[Attempt]:
    """Let what is sent inside the block be the attempt's."""
    token = _current.set(attempt)
    try:
        yield attempt
    finally:
        _current.reset(token)


@contextmanager
def outside() -> Iterator[None]:
    """Around what belongs to no attempt although it may run inside of one."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def has_run() -> None:
    """The code of a task has returned or raised; if it is that of the attempt, what follows is the outcome's."""
    attempt = _current.get()
    if attempt is not None and _whose_code.get() is not attempt:
        attempt.has_run = True


@contextmanager
def user_code() -> Iterator[None]:
    """Around the user's own code: what it sends does not wait for the outcome."""
    token = _whose_code.set(_current.get())
    try:
        yield
    finally:
        _whose_code.reset(token)


@contextmanager
def outcome_code() -> Iterator[None]:
    """Around retry() and replace(), called by user code: all they send is part of the outcome."""
    token, by_user = _whose_code.set(_OUTCOME), _continues.set(False)
    try:
        yield
    finally:
        _continues.reset(by_user)
        _whose_code.reset(token)


@contextmanager
def continuing() -> Iterator[None]:
    """Around the sending of what a payload, or a chord, carries for later, where no attempt need be under way."""
    token = _continues.set(True)
    try:
        yield
    finally:
        _continues.reset(token)


def is_continuing() -> bool:
    """Whether what is sent in this context was written by whoever wrote the payload (a link, the rest of a chain)."""
    told = _continues.get()
    if told is not None:
        return told
    attempt = _current.get()
    return attempt is not None and attempt.is_making_outcome


def conclude(installation: Installation, attempt: Attempt, completion: Completion) -> None:
    """Commit a success in the process that ran the task; raise Refused if the lease was lost."""
    done = replace(completion, run_time_s=round(time.monotonic() - attempt.began_at, 6), pid=os.getpid())
    if not succeed(installation, attempt, done):
        raise Refused


def conclude_ignored(installation: Installation, attempt: Attempt) -> None:
    """The same for a transactional task that raised Ignore, which replace() does as well."""
    if attempt.again is not None:
        is_accepted = run_again(installation, attempt, AttemptFailure("replaced"))
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
    """Commit that the task runs again, from the message it sent under its own id."""
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
    """Commit that no code here can take the task.

    If other code may be able to, it says what is *lacking*, and what the task calls: then those who wait for its result
    are told only after a while that it failed. Otherwise at once, until it is requeued.
    """
    logger.error("task %s[%s] is parked: %s", name, lease.task_id, failure.reason)
    attempt = Attempt(lease, name)
    backend = installation.app.backend
    with running(attempt):
        try:
            if lacking is None or not getattr(backend, "tells_of_parked", False):
                backend.store_result(lease.task_id, error, states.FAILURE)
        except Exception:  # of a backend that is not the ledger
            logger.exception("the result of the parked task %s[%s] cannot be stored", name, lease.task_id)
    _settle(installation, attempt, "parking", lambda tx: finish.park(tx, lease, failure, lacking, shape))


def lose(installation: Installation, lease: Lease, name: str) -> None:
    """Commit that a process died with the attempt before its parent heard of its beginning."""
    failure = AttemptFailure("its process died before its parent had heard that it began", "WorkerLostError")
    settings = installation.settings

    def write(tx: Tx) -> bool:
        lost = reap.lose(tx, lease, failure, settings, is_blamed=True, outcome="killed")
        if lost is not None and lost.state == "quarantined":
            errbacks.send_errbacks(installation, tx, [lost.task_id], lost.state, failure.reason)
        return lost is not None

    logger.error("task %s[%s] had begun in a process that died", name, lease.task_id)
    _settle(installation, Attempt(lease, name), "death", write)


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
    """Write an outcome with all that belongs to it; whether it was accepted."""
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
            refuse(installation, attempt, what, error)
            return False
    else:
        # Its transaction can be tried once only: what the user's code wrote is in it.
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
            logger.exception("what task %s[%s] left to be done failed", attempt.name, attempt.lease.task_id)
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
        # It may be the body of a chord that cannot be written: then the member has succeeded and the chord failed.
        return persist(installation, attempt, what, partial(write, refused=error))


def persist(installation: Installation, attempt: Attempt, what: str, write: Callable[[Tx], T]) -> T:
    """Write in a transaction of our own, and try until the database takes it: what was done must not be forgotten.

    Raises what was to be written is itself the reason of (`Verdict.CONTENT`): that would be refused for ever.
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
            if wants_connections(error):
                installation.scarcity.note()
        else:
            installation.spare_connections()
            return answer
        is_first = False
        begin = (
            source.independent_transaction
        )  # user code may have left Django's own connection so that nothing can be written on it
        with suppress(SoftTimeLimitExceeded):
            time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)


def refuse(installation: Installation, attempt: Attempt, what: str, error: Exception) -> None:
    """Commit that the attempt failed: the database does not take what it was to record, and never will."""
    name, task_id = attempt.name, attempt.lease.task_id
    told = OutcomeRefused(f"its {what} cannot be written: {said(error)}")
    logger.error("task %s[%s] fails, as %s", name, task_id, told)
    parts = [*attempt.parts.values()]
    attempt.forget_success()
    attempt.again = None
    kind = f"{OutcomeRefused.__module__}.{OutcomeRefused.__qualname__}"
    failure = AttemptFailure(
        str(told), kind, f"{''.join(format_tb(error.__traceback__))}{said(error)}", pid=os.getpid()
    )
    with running(attempt):
        try:
            installation.app.backend.store_result(task_id, told, states.FAILURE)
        except Exception:  # of a backend that is not the ledger
            logger.exception("the result of task %s[%s] cannot be stored", name, task_id)

    def fail_with_all(tx: Tx) -> bool:
        if not finish.fail(tx, attempt.lease, failure):
            return False
        results.store(tx, list(attempt.results.values()), is_outcome=True)
        chords.return_failed(installation, tx, parts, told)
        reached(Crashpoint.REFUSE_BEFORE_COMMIT)
        return True

    def fail_alone(tx: Tx) -> bool:
        return finish.fail(tx, attempt.lease, failure)

    try:
        persist(installation, attempt, "failure", fail_with_all)
    except Exception:
        logger.exception("nobody who waits for task %s[%s] can be told that it failed", name, task_id)
        persist(installation, attempt, "failure", fail_alone)
    attempt.is_over = True
    reached(Crashpoint.REFUSE_AFTER_COMMIT)


def refuse_completion(installation: Installation, completion: Completion, error: Exception) -> None:
    """The same for a success that a worker's parent was to record."""
    parts = {(part.group_id, part.task_id): part for part in completion.parts}
    refuse(installation, Attempt(completion.lease, "", parts=parts), "success", error)


def _is_known(installation: Installation, attempt: Attempt) -> bool:
    # The connection may have died after the COMMIT arrived: then the second try finds the first one's work.
    return persist(installation, attempt, "outcome", lambda tx: finish.is_settled(tx, attempt.lease))
