"""Run a task that is an ``async def``. Its tracer, which is synchronous, drives the coroutine to its end.

Each thread of a pool that runs such tasks keeps one event loop for as long as it lives, so what is bound to a loop (an
engine, a client) outlives a task. The loop runs while a task runs, and stops between tasks.

=================  ==========================================================================================
prefork, solo      one loop, in the main thread of the process
mirepoix-asyncio   one loop for all coroutines of the process (`mirepoix.celery.pool.in_loop`)
threads            a loop for each thread
gevent, eventlet   the greenlet waits for a native thread, which has a loop: asyncio runs once in a thread, however many
                   greenlets that has
=================  ==========================================================================================

A coroutine that is interrupted (by the soft time limit, a killed greenlet, a signal) is cancelled, and runs until it
has cleaned up. Code that calls the task as a function gets the coroutine, as from any ``async def``.

Only processes that run tasks import this module, and with it asyncio. `mirepoix.celery.async_def` finds such tasks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import TaskPredicate
from celery.utils.log import get_logger

from mirepoix.celery import native, private
from mirepoix.celery.pool.current import tracer
from mirepoix.celery.pool.soft_limit import SoftLimit
from mirepoix.connect.url import optional
from mirepoix.errors import CoroutineCancelled

if TYPE_CHECKING:
    from mirepoix.celery.pool.in_loop import InLoop

logger = get_logger("mirepoix.coroutine")

_SETTLING_ROUNDS = 3
"""How many more turns the loop makes for asyncio tasks that are about to end. This closes an ``async for`` that was
left early."""


def drive(task: Any, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run *coroutine* of *task* to its end, and return what it returns. Return it as it is to the task's own code."""
    attempt = tracer()
    is_under_loop = attempt is None and _is_under_loop()
    if is_under_loop and not task.request.is_eager:
        return coroutine  # the task's own code calls it
    if "django.db" in sys.modules:
        coroutine = optional("django", "django").leaving(coroutine)
    if attempt is not None:
        return _run_beside_others(task, coroutine, attempt)
    if is_under_loop or native.is_green():
        return _run_elsewhere(task, coroutine)
    return _run(task, coroutine, _loop_of_this_thread())


def _run(
    task: Any,
    coroutine: Coroutine[Any, Any, Any],
    kept: _Loop,
    on_start: Callable[[asyncio.Task[Any]], None] | None = None,
) -> Any:
    """Run *coroutine* to its end, and warn of asyncio tasks that it leaves pending."""
    loop = kept.loop
    limit = _Limit()
    with _judged(task, limit, kept.new_leftovers), _soft_limit(limit, coroutine):
        limit.running = loop.create_task(coroutine)
        if limit.is_over:
            limit.running.cancel()
        if on_start is not None:
            on_start(limit.running)
        return _to_the_end(loop, limit.running)


def _run_beside_others(task: Any, coroutine: Coroutine[Any, Any, Any], attempt: InLoop) -> Any:
    with _judged(task, attempt, attempt.new_leftovers):
        return attempt.drive(coroutine)


class _HasLimit(Protocol):
    @property
    def is_over(self) -> bool: ...


@contextmanager
def _judged(task: Any, limit: _HasLimit, count_leftovers: Callable[[], int]) -> Iterator[None]:
    """Turn what a coroutine raises in the block into what Celery understands, and warn of what it left pending."""
    try:
        yield
    except asyncio.CancelledError as error:
        if limit.is_over:
            raise SoftTimeLimitExceeded from error
        raise CoroutineCancelled(f"{task.name} was cancelled by its own code") from error
    except BaseExceptionGroup as group:
        # An asyncio.TaskGroup wraps every exception. Celery must see those of retry(), replace() and the time limit.
        meant, other = group.split((TaskPredicate, SoftTimeLimitExceeded))
        if meant is None or other is not None:
            raise
        raise _first(meant) from None
    finally:
        count = count_leftovers()
        if count:
            logger.warning(
                "task %s[%s] ended and left %d asyncio task(s) pending: they run only while this thread runs other "
                "asynchronous tasks, and are lost when it ends. Await what you start (asyncio.TaskGroup does).",
                task.name,
                task.request.id,
                count,
            )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _to_the_end(loop: asyncio.AbstractEventLoop, running: asyncio.Task[Any]) -> Any:
    try:
        return loop.run_until_complete(running)
    except BaseException:
        # A signal's exception (SystemExit, KeyboardInterrupt) leaves the loop, not the coroutine.
        if not running.done():
            running.cancel()
            _wait(loop, running)
        if not running.cancelled():
            running.exception()  # asyncio logs an exception that is never read
        raise


def _wait(loop: asyncio.AbstractEventLoop, running: asyncio.Task[Any]) -> None:
    loop.run_until_complete(asyncio.wait([running]))


class _Limit:
    """Whether the soft time limit has passed."""

    is_over = False
    running: asyncio.Task[Any] | None = None


@contextmanager
def _soft_limit(limit: _Limit, coroutine: Coroutine[Any, Any, Any]) -> Iterator[None]:
    """Handle the soft time limit's signal: cancel the coroutine while it waits, or raise in its own code."""

    def on_signal(number: int, frame: Any) -> None:
        if isinstance(handler, SoftLimit) and not handler.is_due():
            return
        limit.is_over = True
        if is_own_code(frame, coroutine):
            handler(number, frame)
        elif limit.running is not None:
            limit.running.get_loop().call_soon_threadsafe(limit.running.cancel)

    is_main = threading.current_thread() is threading.main_thread()
    number = private.soft_limit_signal()
    handler: Any = None if number is None else signal.getsignal(number)
    if not is_main or number is None or not (private.raises_soft_limit(handler) or isinstance(handler, SoftLimit)):
        yield
        return
    signal.signal(number, on_signal)
    try:
        yield
    finally:
        signal.signal(number, handler)


def is_own_code(frame: Any, coroutine: Any) -> bool:
    """Whether *coroutine* called *frame*, and asyncio is not in between.

    An exception in a callback or in another asyncio task would not reach the coroutine. In asyncio's own code it might
    stop the loop from ever waking the coroutine.
    """
    own = getattr(coroutine, "cr_frame", None)
    while frame is not None and frame is not own:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "asyncio":
            return False
        frame = frame.f_back
    return frame is not None


def _run_elsewhere(task: Any, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run *coroutine* on another thread, as the same task, and wait for it. Cancel it if the wait is interrupted."""
    request = task.request
    begun: list[asyncio.Task[Any]] = []
    is_cancelled = threading.Event()

    def on_start(running: asyncio.Task[Any]) -> None:
        begun.append(running)
        if is_cancelled.is_set():
            running.cancel()

    def run() -> Any:
        # Celery keeps the current task and its request for each thread.
        with private.running_as(task, request):
            return _run(task, coroutine, _loop_of_this_thread(), on_start)

    def cancel() -> None:
        is_cancelled.set()
        for running in begun:
            running.get_loop().call_soon_threadsafe(running.cancel)

    return native.call(run, cancel)


class _Loop:
    """The event loop of one thread of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._left: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        weakref.finalize(self, _close, self.loop, self.pid)

    def new_leftovers(self) -> int:
        """Count the asyncio tasks that are pending now and were not at the last call."""
        for _ in range(_SETTLING_ROUNDS):
            if not self._new():
                return 0
            self.loop.run_until_complete(asyncio.sleep(0))
        new = self._new()
        self._left.update(new)
        return len(new)

    def _new(self) -> list[asyncio.Task[Any]]:
        return [pending for pending in asyncio.all_tasks(self.loop) if pending not in self._left]


class _Here(threading.local):
    """The loop of each thread."""

    kept: _Loop | None = None


_here = _Here()
_inherited: list[_Loop] = []
"""Loops that a child process found after a fork. They are never used and never closed: parent and child share the
epoll instance, so that the parent's loop would receive no more events."""


def _loop_of_this_thread() -> _Loop:
    kept = _here.kept
    if kept is not None and kept.pid != os.getpid():
        _inherited.append(kept)
        kept = None
    if kept is None or kept.loop.is_closed():
        kept = _here.kept = _Loop()
    return kept


def _close(loop: asyncio.AbstractEventLoop, pid: int) -> None:
    if os.getpid() == pid:
        loop.close()


def _is_under_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
