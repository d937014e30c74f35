"""The attempt that runs in this context. It holds back what belongs to its outcome.

Celery sends links and the rest of a chain after the user's code returned and before anything is recorded. Those
sends, and all that ``retry()`` and ``replace()`` send, are *continuations*. The attempt holds them back, and
`mirepoix.celery.outcome` writes them in the transaction that records the outcome, behind the fence. Results and parts
of chords go with them. What user code sends by itself is written at once, or in the transaction that is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from celery import states

from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Lease, Outgoing, Part, Result

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation


T = TypeVar("T")

LARGE_RESULT = 64 * 1024
"""A result longer than this does not go through the pipe to the worker's parent."""

_current: ContextVar[Attempt | None] = ContextVar("mirepoix_attempt", default=None)
_OUTCOME = "outcome"

_running_code: ContextVar[Attempt | str | None] = ContextVar("mirepoix_user_code", default=None)
"""Which code runs in this context. An `Attempt`: user code of this attempt. `_OUTCOME`: code that makes an outcome
(``retry()``, ``replace()``). None: neither.

This is no flag of the attempt. User code may start a thread or an asyncio task that outlives it. That is still user
code while the attempt makes its outcome."""

_continues: ContextVar[bool | None] = ContextVar("mirepoix_continues", default=None)
"""Whether what is sent in this context follows from a payload; None: the attempt decides."""


@dataclass(slots=True)
class Attempt:
    """One execution of a task: what it has sent, and what it holds back for its outcome."""

    lease: Lease
    name: str
    continuations: list[Outgoing] = field(default_factory=list)
    again: Envelope | None = None
    """The message that it sent under its own task id, as retry() and replace() do."""
    began_at: float = field(default_factory=time.monotonic)
    installation: Installation | None = None
    """The installation that stores its steps; None if the attempt runs no user code."""
    steps: set[str] = field(default_factory=set)
    """The names of the steps that it has finished or started."""
    results: dict[str, Result] = field(default_factory=dict)
    """The results to store, by task id: its own, and those of tasks that will not run because it failed."""
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    """The parts of chords that it returns, by chord and member."""
    transaction: OpenTransaction | None = None
    """The transaction of a transactional task, until it is committed or rolled back."""
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    """Functions to call once its outcome is in the ledger."""
    note: str | None = None
    """What its retry policy decided about its error, in words."""
    has_run: bool = True
    """Whether the task's code has ended. True from the start where an outcome is made without running that code."""
    is_traced: bool = False
    """Whether Celery's tracer is running: then what is sent has the context of the task."""
    sends_here: bool = False
    """Whether its process must end the chord that it is a member of: what that sends reads the task's context."""
    fail_now: Callable[[], None] | None = None
    """Commits its failure at once, while Celery's context of the task is still set."""
    expires: str | None = None
    """When its task expires, by the clock of this host. A retry is sent with it."""
    queue: str = ""
    """The queue that its task was taken from."""
    waited_s: float | None = None
    taken_at: float | None = None
    """How long its task had waited when it was taken, and when that was by the clock of this host."""
    is_over: bool = False
    """Whether its outcome was recorded or refused. What is sent after that is no part of it."""

    def hold_back(self, item: Outgoing) -> bool:
        """Hold *item* back if it belongs to the outcome; return False if it must be written now."""
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
        """Whether a result with that status belongs to the outcome; if not, it must be written now."""
        is_outcome = status in states.READY_STATES or status == states.RETRY
        return is_outcome and not self.is_over and _running_code.get() is not self

    @property
    def is_making_outcome(self) -> bool:
        """Whether the code in this context makes the outcome of this attempt."""
        running_code = _running_code.get()
        return not self.is_over and running_code is not self and (self.has_run or running_code is _OUTCOME)

    def discard_success_if_asked_again(self) -> bool:
        """Drop its success if it called ``retry(throw=False)`` or ``replace()`` before its code ended.

        The next attempt will have an outcome of its own. Return whether the success was dropped.
        """
        if self.is_over or self.again is None:
            return False
        self.forget_success()
        return True

    def forget_success(self) -> None:
        """Drop all that its success left, and roll its transaction back: it failed after its code returned."""
        self.continuations.clear()
        self.results.clear()
        self.parts.clear()
        if self.transaction is not None:
            self.transaction.roll_back()
            self.transaction = None

    @property
    def commits_here(self) -> bool:
        """Whether this process commits its success; if not, the worker's parent does, in a batch."""
        if self.continuations or self.transaction is not None or self.sends_here:
            return True
        if self.results and sum(len(result.result or "") for result in self.results.values()) > LARGE_RESULT:
            return True
        # A part may belong to another task. It is returned in the name of that task, which only this process has.
        return bool(self.parts) and any(part.task_id != self.lease.task_id for part in self.parts.values())


class OpenTransaction(Protocol):
    """The transaction of a transactional task: it contains the task's writes, and the outcome behind the fence."""

    def conclude(self, write: Callable[[Tx], bool]) -> bool:
        """Write the outcome and COMMIT. If the outcome is refused, ROLLBACK and return False.

        Raises what the COMMIT raises.
        """

    def roll_back(self) -> None:
        """Roll the transaction back. Never raises."""


def current() -> Attempt | None:
    """The attempt that runs in this context, or None."""
    return _current.get()


class _Set(Generic[T]):
    """Give a variable a value inside the block. Each task needs several, so this is no generator."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[Any], value: T) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> T:
        self._token = self._variable.set(self._value)
        return self._value

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


def running(attempt: Attempt) -> AbstractContextManager[Attempt]:
    """Make *attempt* the current one inside the block: what is sent there belongs to it."""
    return _Set(_current, attempt)


def outside() -> AbstractContextManager[None]:
    """Set no current attempt inside the block: what is sent there belongs to none."""
    return _Set(_current, None)


def has_run() -> None:
    """Note that the code of a task has returned or raised.

    If it was the code of the current attempt, the attempt makes its outcome from here on. User code may also run
    another task eagerly: that changes nothing.
    """
    attempt = _current.get()
    if attempt is not None and _running_code.get() is not attempt:
        attempt.has_run = True


def user_code() -> AbstractContextManager[Attempt | None]:
    """Run user code inside the block: what it sends does not wait for the outcome."""
    return _Set(_running_code, _current.get())


@contextmanager
def outcome_code() -> Iterator[None]:
    """Run ``retry()`` or ``replace()`` inside the block: all that they send is part of the outcome."""
    with _Set(_running_code, _OUTCOME), _Set(_continues, False):
        yield


def continuing() -> AbstractContextManager[bool]:
    """Send inside the block what a payload or a chord carries for later. No attempt needs to run."""
    return _Set(_continues, True)


def is_continuing() -> bool:
    """Whether what is sent in this context comes from a payload: a link, or the rest of a chain."""
    continues = _continues.get()
    if continues is not None:
        return continues
    attempt = _current.get()
    return attempt is not None and attempt.is_making_outcome
