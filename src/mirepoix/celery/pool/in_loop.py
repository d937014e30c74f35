"""One attempt among others in the event loop of a process."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded

from mirepoix.celery.pool import greenlet, task_context
from mirepoix.celery.pool.current import current
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.soft_limit import SOFT_LIMIT, TERMINATION

T = TypeVar("T")

SETTLING_ROUNDS = 3
"""How many more turns of the loop asyncio tasks get that are about to end. This closes an ``async for`` that was left
early."""


class Terminated(BaseException):
    """Ends the attempt of a coroutine that was terminated. Celery's tracer records nothing for it."""


class InLoop:
    """An attempt that runs in the loop: its greenlet with Celery's tracer, and its coroutine."""

    def __init__(self, page: Page, slot: int, number: int, beside: Executor) -> None:
        self.number = number
        self.interruption = 0
        """Why it was interrupted; see `Page.interruption`."""
        self.children: weakref.WeakSet[asyncio.Task[Any]] | tuple[()] = ()
        """The asyncio tasks that its code has started."""
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        """The coroutine of its code, while that runs."""
        self._page, self._slot, self._beside = page, slot, beside
        self._left = 0
        self._task: asyncio.Task[Any]
        self._carried: greenlet.Carried[None]

    async def run(self, trace: Callable[[], None]) -> None:
        """Call *trace*, which may await: it calls Celery's tracer, and raises nothing."""
        self._task = asyncio.current_task()  # type: ignore[assignment]
        current.set(self)
        task_context.begin(self)
        self._carried = greenlet.Carried(trace, self.switched)
        await self._carried

    def switched(self, is_on: bool) -> None:
        """Note that its code goes on, or that it waits."""
        self._page.execute(self._slot, self.number if is_on else 0)

    @property
    def may_await(self) -> bool:
        """Whether the calling code is its tracer, outside of the coroutine: only there a call may wait for the loop."""
        return self.coroutine is None and self._carried.is_here()

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* to its end while others run too. Raises what it raises."""
        self.coroutine = coroutine
        try:
            if self.interruption:
                self._task.cancel()
            return greenlet.run(coroutine)
        except Terminated:
            raise
        except BaseException as error:
            if self.interruption == TERMINATION:
                raise Terminated from error
            raise
        finally:
            self.coroutine = None

    @property
    def is_over(self) -> bool:
        """Whether its soft time limit has passed."""
        return self.interruption == SOFT_LIMIT

    def error(self) -> BaseException:
        """What is raised in the code of its coroutine when it is interrupted there."""
        return SoftTimeLimitExceeded() if self.is_over else Terminated()

    def cancel(self) -> None:
        """Cancel its coroutine, if that runs."""
        if self.coroutine is not None:
            self._task.cancel()

    def apart(self, function: Callable[[], T]) -> T:
        """Call *function* in a thread and wait for it, while the loop runs other attempts. Nothing interrupts that."""

        def call() -> T:
            with task_context.in_this_thread():
                return function()

        inside = partial(contextvars.copy_context().run, call)
        waiting = asyncio.get_running_loop().run_in_executor(self._beside, inside)
        return greenlet.run(_uncancelled(waiting))

    def adopt(self, child: asyncio.Task[Any]) -> None:
        """Note an asyncio task that its code has started."""
        if not isinstance(self.children, weakref.WeakSet):
            self.children = weakref.WeakSet()
        self.children.add(child)

    def new_leftovers(self) -> int:
        """Count the asyncio tasks that its code has left pending."""
        for _ in range(SETTLING_ROUNDS):
            if all(child.done() for child in self.children):
                return 0
            greenlet.run(asyncio.sleep(0))
        return sum(not child.done() for child in self.children)


async def _uncancelled(waiting: asyncio.Future[T]) -> T:
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:  # the task's code is over: no limit of it applies here
            continue
    return waiting.result()


def new_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: contextvars.Context | None = None, **options: Any
) -> asyncio.Task[Any]:
    """The loop's factory of asyncio tasks: it notes which attempt has started each, for blame and for stacks."""
    attempt = current.get() if context is None else context.get(current)
    if attempt is None or not asyncio.iscoroutine(coroutine):
        return asyncio.Task(coroutine, loop=loop, context=context, **options)
    child: asyncio.Task[Any] = asyncio.Task(_Noted(coroutine, attempt), loop=loop, context=context, **options)
    attempt.adopt(child)
    return child


class _Noted(Coroutine[Any, Any, Any]):
    """A coroutine that an attempt has started: the page shows that attempt while its code runs."""

    __slots__ = ("_attempt", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], attempt: InLoop) -> None:
        self._coroutine, self._attempt = coroutine, attempt

    def send(self, value: Any) -> Any:
        self._attempt.switched(True)
        try:
            return self._coroutine.send(value)
        finally:
            self._attempt.switched(False)

    def throw(self, *error: Any) -> Any:
        self._attempt.switched(True)
        try:
            return self._coroutine.throw(*error)
        finally:
            self._attempt.switched(False)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)
