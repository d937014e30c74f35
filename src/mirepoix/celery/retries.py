"""Retry a task whose code has raised, as its policy says, with Celery's own retry.

This wraps all of a task's code. ``autoretry_for``, ``self.retry`` and the ROLLBACK of a transactional task have run
before it, and it never changes what they decided. A retry takes its place in the budget in a separate transaction,
before the retry is recorded. A process that dies between the two wastes a place and nothing else. Its task runs again
because the process died, and that is no retry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from celery.exceptions import MaxRetriesExceededError, TaskPredicate

from mirepoix.celery import context, private
from mirepoix.celery.context import Attempt
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import budget
from mirepoix.ledger.budget import Budget, Turn
from mirepoix.ledger.tx import Tx
from mirepoix.retries.policy import RetryPolicy, policy_of, rate

logger = logging.getLogger("mirepoix.attempt")


@dataclass(slots=True)
class _Trying:
    """The outermost call of a task's code in this context, and the error with which Celery's retry gave up."""

    call: tuple[str, str]
    given_up: BaseException | None = None


_trying: ContextVar[_Trying | None] = ContextVar("mirepoix_trying", default=None)


def check(task: Any) -> None:
    """Raise ConfigurationError if the task's option ``retries`` is no policy."""
    if getattr(task, "retries", None) is not None:
        policy_of(task.retries, f"The option retries of the task {task.name}")


def policy_for(task: Any) -> RetryPolicy | None:
    """The policy of the task, or else of the app. A task with ``retries=None`` has no policy."""
    own = getattr(task, "retries", _NOT_SET)
    if own is not _NOT_SET:
        return policy_of(own, f"The option retries of the task {task.name}")
    default: RetryPolicy | None = task.app.mirepoix.settings.retries
    return default


class trying:  # noqa: N801 (used as a function)
    """Run a task's code inside the block. Pass its errors on, or raise a retry instead."""

    __slots__ = ("_now", "_request", "_task", "_token")

    def __init__(self, task: Any) -> None:
        self._task = task

    def __enter__(self) -> None:
        request = self._request = self._task.request_stack.top
        above = _trying.get()
        self._now: _Trying | None = None
        if request is None or request.called_directly:
            return
        call = (self._task.name, request.id)
        if above is None or above.call != call:  # else it was called by itself: the caller's policy applies
            self._now = _Trying(call)
            self._token = _trying.set(self._now)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        now = self._now
        if now is None:
            return
        try:
            if not isinstance(error, Exception) or error is now.given_up:
                return
            if isinstance(error, (TaskPredicate, MaxRetriesExceededError, ConfigurationError)):
                return
            policy = policy_for(self._task)
            if policy is not None:
                _try_again(self._task, self._request, policy, error)
        finally:
            _trying.reset(self._token)


@contextmanager
def decided_by_celery() -> Iterator[None]:
    """Run Celery's retry inside the block. The policy never retries an error with which Celery's retry gives up."""
    try:
        yield
    except TaskPredicate:
        raise
    except Exception as error:
        now = _trying.get()
        if now is not None:
            now.given_up = error
        raise


def _try_again(task: Any, request: Any, policy: RetryPolicy, error: Exception) -> None:
    """Raise Celery's Retry. If the task must not be retried, note the reason and return."""
    done = request.retries or 0
    attempt = context.current()
    if not policy.takes(error):
        return _note(attempt, "no retry: its policy takes this error as permanent")
    if policy.is_spent(done):
        return _note(attempt, f"given up after {done + 1} attempts of {policy.max_attempts}")
    wait_s = _delay(policy, task, done, error)
    turn = Turn(wait_s)
    if attempt is not None and attempt.installation is not None and not request.is_eager:
        turn = _reserved(task, attempt, policy, wait_s)
    if turn.is_too_old:
        limit = f"{policy.max_age_s:g} s after it was sent"
        return _note(attempt, f"given up: its next attempt would come later than {limit}")
    of = "" if policy.max_attempts is None else f" of {policy.max_attempts}"
    put_off = f", {turn.put_off_s:.1f} s of it for its budget" if turn.put_off_s else ""
    _note(attempt, f"attempt {done + 2}{of} in {turn.wait_s:.1f} s{put_off}")
    with _keeping_max_retries(task):
        raise task.retry(exc=error, countdown=turn.wait_s, max_retries=done + 1, throw=False)


def _delay(policy: RetryPolicy, task: Any, done: int, error: Exception) -> float:
    try:
        return policy.delay_s(done, error)
    except Exception:  # the user's function may raise anything, and the task's own error must not be lost
        logger.exception("the retry_after of the policy of task %s raised; its backoff is used instead", task.name)
        return policy.bound_s(done)


def _reserved(task: Any, attempt: Attempt, policy: RetryPolicy, wait_s: float) -> Turn:
    installation = attempt.installation
    if installation is None or (policy.budget is None and policy.max_age_s is None):
        return Turn(wait_s)
    limit = None if policy.budget is None else Budget(policy.destination or task.name, rate(policy.budget))

    def write(tx: Tx) -> Turn | None:
        found = budget.reserve(tx, attempt.lease, wait_s, policy.max_age_s, limit)
        reached(Crashpoint.RESERVE_BEFORE_COMMIT)
        return found

    from mirepoix.celery import outcome  # only processes that run tasks need it

    turn = outcome.persist(installation, attempt, "place in the budget", write)
    reached(Crashpoint.RESERVE_AFTER_COMMIT)
    return turn or Turn(wait_s)  # the attempt has lost its lease: its retry will be refused


def _note(attempt: Attempt | None, text: str) -> None:
    if attempt is not None:
        attempt.note = text


@contextmanager
def _keeping_max_retries(task: Any) -> Iterator[None]:
    """Restore the task's max_retries after the block: Celery's retry would change it for later calls too."""
    before = vars(task).get(private.KEPT_MAX_RETRIES, _NOT_SET)
    try:
        yield
    finally:
        if before is _NOT_SET:
            vars(task).pop(private.KEPT_MAX_RETRIES, None)
        else:
            vars(task)[private.KEPT_MAX_RETRIES] = before


_NOT_SET: Any = object()
