"""Steps: work that a task does once, even if it has several attempts. And idempotency keys for repeated calls.

The process may die between the work and the COMMIT of its result. Then the step runs again. No ledger can close that
gap, since the effect is in another system. An idempotency key that this system checks closes it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from celery import current_task
from kombu.utils.json import dumps, loads

from mirepoix.celery import context
from mirepoix.celery.context import Attempt
from mirepoix.connect import ambient
from mirepoix.connect.source import Source
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError, LeaseLost, StepNotStored
from mirepoix.ledger import steps
from mirepoix.ledger.steps import Found
from mirepoix.ledger.tx import Tx

logger = logging.getLogger("mirepoix.step")

P = ParamSpec("P")
T = TypeVar("T")

NAMESPACE = uuid.UUID("6643e96e-733c-4e33-afcf-3f2418c2936d")
"""The namespace of all idempotency keys. It never changes, since the keys of waiting tasks would change with it."""

NAME_LIMIT = 255

recorder: ContextVar[Callable[[str, Callable[[], Any]], Any] | None] = ContextVar(
    "mirepoix_step_recorder", default=None
)
"""The function that stores steps instead of the ledger. The crash-point tester sets it."""


def step(name: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``fn(*args, **kwargs)`` once for this task, and store its result. Other attempts get that result instead.

    *name* is unique within the task. A coroutine function is awaited: ``await mirepoix.step("x", fetch)``. Celery's
    JSON must be able to hold the result. Every call, also the first, returns the value that JSON gives back: a tuple
    becomes a list. If *fn* raises, nothing is stored, and the step may be called again.

    Not promised: *fn* may run twice if the process dies, or the lease is lost, between its end and the COMMIT of its
    result. Pass `idempotency_key` of the same name to the system that *fn* calls. Outside of a worker's task, and in an
    eager task, *fn* is called and nothing is stored. A thread that a task starts is outside, unless it runs in a copied
    context.

    Raises ConfigurationError for a name that this attempt used already, LeaseLost if another attempt may be running,
    and StepNotStored if *fn* ran and its result cannot be stored.
    """
    _check(name)
    keep = recorder.get()
    if keep is not None and not _is_coroutine_function(fn):
        kept: T = keep(name, lambda: _plain(name, fn(*args, **kwargs)))
        return kept
    attempt = None if _is_eager() else context.current()
    if attempt is None or attempt.installation is None:
        return fn(*args, **kwargs) if _is_coroutine_function(fn) else _plain(name, fn(*args, **kwargs))
    work = _Step(attempt, attempt.installation.source, attempt.installation.settings.payload_limit_bytes, name)
    if _is_coroutine_function(fn):
        return work.awaited(lambda: fn(*args, **kwargs))  # type: ignore[return-value]  # T is what is awaited here
    result: T = work.done(lambda: _plain(name, fn(*args, **kwargs)))
    return result


def idempotency_key(name: str) -> str:
    """A UUID for *name* in the running task. It is the same in each attempt, and differs in every other task.

    Pass it to a system that checks such keys (by an ``Idempotency-Key`` header, or a unique column). You may call this
    in a `step` or outside of a step, and as often as you like. Raises ConfigurationError outside of a task.
    """
    _check(name)
    attempt = None if _is_eager() else context.current()
    task_id = attempt.lease.task_id if attempt is not None else _id_of_current_task()
    if task_id is None:
        raise ConfigurationError(
            f"mirepoix.idempotency_key({name!r}) was called outside of a task: the key is made from the task's id. "
            "Call it in the task and pass it on, to a thread for example; in a test, run the task with .apply()."
        )
    # Neither an id nor a name can contain a line break, so no two pairs give the same text.
    return str(uuid.uuid5(NAMESPACE, f"{task_id}\n{name}"))


class _Step:
    """One call of `step` in an attempt."""

    __slots__ = ("_attempt", "_limit_bytes", "_name", "_source")

    def __init__(self, attempt: Attempt, source: Source, limit_bytes: int, name: str) -> None:
        self._attempt = attempt
        self._source = source
        self._limit_bytes = limit_bytes
        self._name = name

    def done(self, run: Callable[[], Any]) -> Any:
        """The result of the step, from this attempt or an earlier one."""
        with self._only_once():
            result = self._find()
            if result is None:
                began_at = time.monotonic()
                value = run()
                result = self._store(value, time.monotonic() - began_at)
            return loads(result)

    async def awaited(self, run: Callable[[], Any]) -> Any:
        """The result of the step, for a coroutine function. A thread waits for the database."""
        with self._only_once():
            result = await self._beside(self._find)
            if result is None:
                began_at = time.monotonic()
                value = await run()
                result = await self._beside(self._store, value, time.monotonic() - began_at)
            return loads(result)

    async def _beside(self, function: Callable[..., T], *args: Any) -> T:
        if self._source.dialect == "sqlite" and isinstance(ambient.current(), ambient.Direct):
            return function(*args)  # it uses the caller's connection, which belongs to this thread
        return await asyncio.to_thread(function, *args)

    @contextmanager
    def _only_once(self) -> Iterator[None]:
        names = self._attempt.steps
        if self._name in names:
            raise called_twice(self._name, self._attempt.name)
        names.add(self._name)
        try:
            yield
        except BaseException:
            names.discard(self._name)  # it has no result: user code may catch the error and try again
            raise

    def _find(self) -> str | None:
        try:
            found = self._in_ledger(lambda tx: steps.find(tx, self._attempt.lease, self._name))
        except self._source.disconnects as error:
            error.add_note(f"The step {self._name!r} did not run. {_SQLITE_WAITS}")
            raise
        return self._held(found).result

    def _store(self, value: Any, run_time_s: float) -> str | None:
        result = self._as_json(value)

        def store(tx: Tx) -> Found | None:
            found = steps.store(tx, self._attempt.lease, self._name, result, run_time_s)
            reached(Crashpoint.STEP_BEFORE_COMMIT)
            return found

        try:
            found = self._in_ledger(store)
        except self._source.disconnects as error:
            raise self._not_stored(f"{str(error).strip()}. {_SQLITE_WAITS}") from error
        reached(Crashpoint.STEP_AFTER_COMMIT)
        return self._held(found).result

    def _in_ledger(self, act: Callable[[Tx], Found | None]) -> Found | None:
        """Do *act* in a short transaction. Wait for a database that is away, so that no result is lost."""
        pause_s = 0.05
        while True:
            try:
                with ambient.independent_transaction(self._source) as tx:
                    return act(tx)
            except self._source.disconnects as error:
                if self._source.dialect == "sqlite":
                    raise  # it has waited already, perhaps for a transaction of this very task
                logger.warning(
                    "the step %r of task %s[%s] waits for the ledger: %s",
                    self._name,
                    self._attempt.name,
                    self._attempt.lease.task_id,
                    str(error).strip().partition("\n")[0],
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    def _held(self, found: Found | None) -> Found:
        if found is None:
            raise LeaseLost(self._attempt.lease.task_id, self._attempt.lease.fence)
        return found

    def _as_json(self, value: Any) -> str:
        try:
            result: str = dumps(value)
            loads(result)
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            reason = f"{error}. Return what Celery's JSON can hold (numbers, texts, lists, mappings, dates, UUIDs)."
            raise self._not_stored(reason) from error
        if len(result) > self._limit_bytes:
            raise self._not_stored(
                f"it takes {len(result):,} bytes and the limit is {self._limit_bytes:,}. Store the data elsewhere and "
                "return its key, or raise mirepoix_payload_limit_bytes."
            )
        return result

    def _not_stored(self, reason: str) -> StepNotStored:
        return StepNotStored(self._attempt.lease.task_id, self._name, reason)


_SQLITE_WAITS = (
    "SQLite lets one transaction write at a time: if this task has one open on another connection to the ledger's "
    "file, end it before the step."
)


def called_twice(name: str, task: str) -> ConfigurationError:
    """The error for a name that an attempt uses twice."""
    return ConfigurationError(
        f"The step {name!r} was called twice in one attempt of {task}: the second call would get what the first "
        f'returned. Give each its own name, in a loop for example f"{name}-{{order.id}}".'
    )


def _check(name: Any) -> None:
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"{name!r} is no name for a step. It is a printable text of 1 to {NAME_LIMIT} characters, and the same in "
            "every attempt."
        )


def _plain(name: str, value: T) -> T:
    """Refuse an awaitable: a later attempt gets the stored result instead, and could not await that."""
    if not inspect.isawaitable(value):
        return value
    if inspect.iscoroutine(value):
        value.close()  # it was not begun
    raise ConfigurationError(
        f"The function of step {name!r} is no coroutine function but returned something to await. Pass the coroutine "
        f'function itself, or wrap the call in one: await mirepoix.step("{name}", fetch, url).'
    )


def _is_coroutine_function(fn: Any) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _is_eager() -> bool:
    return bool(current_task and current_task.request.is_eager)


def _id_of_current_task() -> str | None:
    return current_task.request.id if current_task else None
