"""Tasks with a strategy of their own, such as those of celery-batches: they gather calls and run many of them at once.

Such a strategy makes a request from each message and holds it. Later it gives one function for many requests to the
pool, and acknowledges the requests. No tracer runs that could record an outcome. So the acknowledgement is recorded as
the success of the call. If the function fails, its calls fail. If its process dies, they run again.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery.app.task import Task
from celery.utils.log import get_logger

from mirepoix.records import AttemptFailure

if TYPE_CHECKING:
    from mirepoix.celery.request import LedgerRequest

logger = get_logger("mirepoix.worker")

_watched: ContextVar[list[BaseException] | None] = ContextVar("mirepoix_gathered", default=None)


def is_gathering(task: Any) -> bool:
    """Whether *task* has a strategy of its own."""
    return bool(task.Strategy != Task.Strategy)


def check(task: Any) -> None:
    """Let a task that gathers calls acknowledge them late: the acknowledgement is recorded as their success."""
    if is_gathering(task):
        task.acks_late = True


class Gathered:
    """The calls of a worker that its tasks have gathered and not yet given to the pool, by task id."""

    def __init__(self) -> None:
        self._waiting: dict[str, LedgerRequest] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: LedgerRequest) -> None:
        self._waiting[str(request.id)] = request

    def drop(self, request: LedgerRequest) -> None:
        self._waiting.pop(str(request.id), None)

    def taken_from(self, value: Any) -> list[LedgerRequest]:
        """Take the gathered calls that have their ids in *value*, the arguments of the pool's function.

        A call that this worker must not run any more is removed from the lists in *value*.
        """
        if isinstance(value, list):
            value[:] = [item for item in value if not self._is_lost(item)]
        if isinstance(value, (list, tuple)):
            return [request for item in value for request in self.taken_from(item)]
        request = self._waiting.pop(_id_of(value), None)
        return [] if request is None else [request]

    def _is_lost(self, value: Any) -> bool:
        request = self._waiting.get(_id_of(value))
        return request is not None and request.is_lost()


def _id_of(value: Any) -> str:
    found = getattr(value, "id", None)
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Broken:
    """What a pool process reports of a task's code that has raised."""

    reason: str
    error_type: str
    traceback: str
    pid: int

    def failure(self) -> AttemptFailure:
        return AttemptFailure(self.reason, self.error_type, self.traceback, pid=self.pid)


class GatheringConsumer:
    """The consumer that a strategy gets. Its pool records the outcomes of the calls."""

    def __init__(self, consumer: Any, gathered: Gathered) -> None:
        self._consumer = consumer
        self.pool = GatheringPool(consumer.pool, gathered)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class GatheringPool:
    """The pool that a strategy gets."""

    def __init__(self, pool: Any, gathered: Gathered) -> None:
        self._pool = pool
        self._gathered = gathered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def apply_async(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        accept_callback: Callable[[int, float], object] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> Any:
        """Run *target* in the pool. Its begin, end, error or death is recorded for the calls in its arguments."""
        batch = _Batch(self._gathered.taken_from(args), accept_callback, callback, error_callback)
        return self._pool.apply_async(
            run_watched,
            (target, args, kwargs or {}),
            accept_callback=batch.on_accepted,
            callback=batch.on_done,
            error_callback=batch.on_error,
            **options,
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one function in the pool, and the callbacks of its strategy."""

    calls: list[LedgerRequest]
    accept_callback: Callable[[int, float], object] | None
    callback: Callable[[Any], object] | None
    error_callback: Callable[[Any], object] | None

    def on_accepted(self, pid: int, accepted_at: float) -> None:
        for call in self.calls:
            call.begins_with_others(pid)
        if self.accept_callback is not None:
            self.accept_callback(pid, accepted_at)

    def on_done(self, result: Any) -> None:
        if isinstance(result, ExceptionInfo):  # a thread or greenlet that has ended
            self.on_error(result)
            return
        for call in self.calls if isinstance(result, Broken) else ():
            call.broke_with_others(result.failure())
        if self.callback is not None:
            self.callback(None if isinstance(result, Broken) else result)

    def on_error(self, error: Any) -> None:
        for call in self.calls:
            call.on_failure(error)
        if self.error_callback is not None:
            self.error_callback(error)


def run_watched(target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run *target* in the pool process. Report an error of the task's code even if *target* catches it."""
    raised: list[BaseException] = []
    token = _watched.set(raised)
    try:
        result = target(*args, **kwargs)
    except Exception as error:  # noqa: BLE001, it would end a pool without processes
        raised.append(error)
        result = None
    finally:
        _watched.reset(token)
    if not raised:
        return result
    last = raised[-1]
    kind = f"{type(last).__module__}.{type(last).__qualname__}"
    words = "".join(traceback.format_exception(last))
    return Broken(f"{type(last).__name__}: {last}", kind, words, os.getpid())


def watched() -> AbstractContextManager[None]:
    """Run a task's code inside the block, and note what it raises, for `run_watched`. Nested tasks are not watched."""
    raised = _watched.get()
    return _NOT_WATCHED if raised is None else _noting(raised)


_NOT_WATCHED = nullcontext()


@contextmanager
def _noting(raised: list[BaseException]) -> Iterator[None]:
    token = _watched.set(None)
    try:
        yield
    except Exception as error:
        raised.append(error)
        raise
    finally:
        _watched.reset(token)
