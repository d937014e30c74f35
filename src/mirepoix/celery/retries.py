"""Try a task again as its policy says, by Celery's own retry, when its code has raised.

It stands around the whole of a task's code: inside of it ``autoretry_for``, ``self.retry`` and the ROLLBACK of a
transactional task have been. What these have decided is left alone. The place in the budget is taken in a transaction
of its own, before the retry is recorded: a process that dies between the two has wasted a place and nothing else, and
its task runs again because it died, which is no retry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from celery.exceptions import MaxRetriesExceededError, TaskPredicate

from mirepoix.celery import context
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
    """The outermost call of a task's code in this context, and the error with which Celery's retry has given up."""

    call: tuple[str, str]
    given_up: BaseException | None = None


_trying: ContextVar[_Trying | None] = ContextVar("mirepoix_trying", default=None)


def check(task: Any) -> None:
    """Refuse what is no policy: ConfigurationError."""
    if getattr(task, "retries", None) is not None:
        policy_of(task.retries, f"The option retries of the task {task.name}")


def policy_for(task: Any) -> RetryPolicy | None:
    """The task's own, or else the app's. A task whose option says None has none."""
    own = getattr(task, "retries", _NOT_SAID)
    if own is not _NOT_SAID:
        return policy_of(own, f"The option retries of the task {task.name}")
    default: RetryPolicy | None = task.app.mirepoix.settings.retries
    return default


@contextmanager
def trying(task: Any) -> Iterator[None]:
    """Around a task's code: what it raises is raised on, or a retry instead of it."""
    request = task.request_stack.top
    above = _trying.get()
    if request is None or request.called_directly or (above is not None and above.call == (task.name, request.id)):
        yield  # called as a function, maybe by itself: that is part of what calls it
        return
    now = _Trying((task.name, request.id))
    token = _trying.set(now)
    try:
        yield
    except (TaskPredicate, MaxRetriesExceededError, ConfigurationError):
        raise
    except Exception as error:
        if error is now.given_up:
            raise
        policy = policy_for(task)
        if policy is not None:
            _try_again(task, request, policy, error)
        raise
    finally:
        _trying.reset(token)


@contextmanager
def decided_by_celery() -> Iterator[None]:
    """Around Celery's retry: the error with which it gives up is no more the policy's."""
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
    """Raise Celery's Retry; or return, with the reason noted, if the error stands."""
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
    except Exception:  # of the user's own reader: the task's error must not be lost for it
        logger.exception("the retry_after of the policy of task %s raised; its own backoff is taken", task.name)
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

    from mirepoix.celery import outcome  # runs tasks, which clients do without

    turn = outcome.persist(installation, attempt, "place in the budget", write)
    reached(Crashpoint.RESERVE_AFTER_COMMIT)
    return turn or Turn(wait_s)  # without its lease it is a zombie: its retry will be refused


def _note(attempt: Attempt | None, text: str) -> None:
    if attempt is not None:
        attempt.note = text


@contextmanager
def _keeping_max_retries(task: Any) -> Iterator[None]:
    """Celery keeps the max_retries of a retry on the task, for the autoretry_for of every later call."""
    before = vars(task).get("override_max_retries", _NOT_SAID)
    try:
        yield
    finally:
        if before is _NOT_SAID:
            vars(task).pop("override_max_retries", None)
        else:
            task.override_max_retries = before


_NOT_SAID: Any = object()
