"""One execution of a task: what it sends when it is over is held until its outcome, and committed with it.

Celery sends links and the rest of a chain after the user's code returned and before anything is recorded. Those
sends, and whatever ``retry()`` and ``replace()`` send, are *continuations*: kept here, then written in the very
transaction that records the outcome, behind the fence. What user code sends by itself is its own business and is
written at once (or in the transaction it joined).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirepoix.connect.source import Source
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import finish, reap
from mirepoix.ledger.tx import Tx
from mirepoix.records import Completion, Envelope, Lease, Trouble

if TYPE_CHECKING:
    from mirepoix.celery.app import Installation

logger = logging.getLogger("mirepoix.attempt")

_current: ContextVar[Attempt | None] = ContextVar("mirepoix_attempt", default=None)
_whose_code: ContextVar[Attempt | None] = ContextVar("mirepoix_user_code", default=None)
"""The attempt whose user's code runs in this context. Not a flag of the attempt: a thread or an asyncio task that user
code started, and that outlives it, is still the user's code while the outcome is made."""


@dataclass(slots=True)
class Attempt:
    """What an execution has sent so far, and what it still holds back."""

    lease: Lease
    name: str
    continuations: list[Envelope] = field(default_factory=list)
    again: Envelope | None = None
    """The message it sent under its own id: retry() and replace() do."""
    began_at: float = field(default_factory=time.monotonic)
    installation: Installation | None = None
    """Where its steps are kept; None for one that runs no user code."""
    steps: set[str] = field(default_factory=set)
    """The names of the steps it has done, or is doing."""

    def keeps(self, envelope: Envelope) -> bool:
        """Hold *envelope* back if it belongs to the outcome; False if it is to be written now."""
        if envelope.id == self.lease.task_id:
            self.again = envelope
            return True
        if _whose_code.get() is self:
            return False
        self.continuations.append(envelope)
        return True


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
    token = _whose_code.set(None)
    try:
        yield
    finally:
        _whose_code.reset(token)


def succeed(source: Source, attempt: Attempt, completion: Completion) -> None:
    """Commit a success and its continuations, or nothing."""
    _settle(source, attempt, "success", lambda tx: finish.succeed_with(tx, completion, attempt.continuations))


def fail(source: Source, attempt: Attempt, trouble: Trouble) -> None:
    """Commit a failure and its errbacks, or nothing."""
    _settle(source, attempt, "failure", lambda tx: finish.fail(tx, attempt.lease, trouble, attempt.continuations))


def run_again(source: Source, attempt: Attempt, trouble: Trouble) -> None:
    """Commit that the task runs again, from the message it sent under its own id."""
    again = attempt.again
    if again is None:
        raise RuntimeError(f"{attempt.name}[{attempt.lease.task_id}] asked to run again without a message")
    _settle(source, attempt, "retry", lambda tx: finish.retry(tx, attempt.lease, again, trouble, attempt.continuations))


def park(source: Source, lease: Lease, name: str, trouble: Trouble) -> None:
    """Commit that no code here can take the task."""
    logger.error("task %s[%s] is parked: %s", name, lease.task_id, trouble.reason)
    _settle(source, Attempt(lease, name), "parking", lambda tx: finish.park(tx, lease, trouble))


def lose(installation: Installation, lease: Lease, name: str) -> None:
    """Commit that a process died with the attempt before its parent heard of its beginning."""
    trouble = Trouble("its process died before its parent had heard that it began", "WorkerLostError")
    settings = installation.settings

    def write(tx: Tx) -> bool:
        return reap.lose(tx, lease, trouble, settings, is_blamed=True, outcome="killed") is not None

    logger.error("task %s[%s] had begun in a process that died", name, lease.task_id)
    _settle(installation.source, Attempt(lease, name), "death", write)


def revoke(source: Source, lease: Lease, name: str, trouble: Trouble, *, is_expired: bool) -> None:
    """Commit that the task was revoked, or expired, while a worker held it."""
    end = finish.expire if is_expired else finish.revoke
    _settle(source, Attempt(lease, name), "revocation", lambda tx: end(tx, lease, trouble))


def _settle(source: Source, attempt: Attempt, what: str, write: Callable[[Tx], bool]) -> None:
    """Write an outcome, waiting for a database that is away: what was done must not be forgotten for that."""
    pause_s = 0.05
    while True:
        try:
            with source.transaction() as tx:
                is_accepted = write(tx)
                reached(Crashpoint.OUTCOME_BEFORE_COMMIT)
            break
        except source.disconnects as error:
            logger.warning(
                "the %s of task %s[%s] cannot be recorded yet, trying again: %s",
                what,
                attempt.name,
                attempt.lease.task_id,
                str(error).strip(),
            )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
    reached(Crashpoint.OUTCOME_AFTER_COMMIT)
    if not is_accepted and not _is_known(source, attempt.lease):
        logger.warning(
            "the %s of task %s[%s] (attempt %d) was refused: its lease was lost; nothing of it was written or sent",
            what,
            attempt.name,
            attempt.lease.task_id,
            attempt.lease.fence,
        )


def _is_known(source: Source, lease: Lease) -> bool:
    # The connection may have died after the COMMIT arrived: then the second try finds the first one's work.
    with source.transaction() as tx:
        return finish.is_settled(tx, lease)
