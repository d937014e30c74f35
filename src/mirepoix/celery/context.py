"""The attempt that runs in this context: what it sends when it is over is held until its outcome.

Celery sends links and the rest of a chain after the user's code returned and before anything is recorded. Those
sends, and all that ``retry()`` and ``replace()`` send, are *continuations*: the attempt holds them back, and
`mirepoix.celery.outcome` writes them in the very transaction that records the outcome, behind the fence, together with
results and parts of chords. What user code sends by itself is written at once, or in the transaction that is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from celery import states

from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Lease, Outgoing, Part, Result

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation


LARGE_RESULT = 64 * 1024
"""A result longer than this does not go through the pipe to the worker's parent."""

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

    def hold_back(self, item: Outgoing) -> bool:
        """Hold *item* back if it belongs to the outcome; return False if it is to be written now."""
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

    def discard_success_if_asked_again(self) -> bool:
        """If it called ``retry(throw=False)`` or ``replace()`` before its code ended, drop its success; whether it did.

        The next attempt comes to an end of its own.
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
