"""Let synchronous code await: it runs in a greenlet, and an asyncio task of the loop carries it.

Celery's tracer is one synchronous function. In the greenlet it calls the task's code, and the futures that this code
awaits are handed to the asyncio task, which waits for them in its place. Meanwhile the loop runs other tasks.
SQLAlchemy does the same for its drivers (``greenlet_spawn``).

The greenlet has the context variables of the asyncio task. All of the coroutine's own code runs in the greenlet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from greenlet import getcurrent
from greenlet import greenlet as _Greenlet  # noqa: N812 (it is a class)

T = TypeVar("T")


class Carried(Awaitable[T]):
    """Run *function* in a greenlet; the result of ``await`` is what it returns.

    *switched* is called with True whenever the greenlet goes on, and with False whenever it waits or has ended.
    """

    def __init__(self, function: Callable[[], T], switched: Callable[[bool], None]) -> None:
        self._function = function
        self._switched = switched
        self._greenlet: Any = None

    def is_here(self) -> bool:
        """Whether the calling code runs in this greenlet, and not in another asyncio task or thread."""
        return self._greenlet is not None and getcurrent() is self._greenlet

    def __await__(self) -> Generator[Any, Any, T]:
        carried = self._greenlet = _Greenlet(self._function)
        carried.gr_context = getcurrent().gr_context
        resume: Callable[[], Any] = carried.switch
        while True:
            self._switched(True)
            try:
                waits_for = resume()
            finally:
                self._switched(False)
            if carried.dead:
                result: T = waits_for
                return result
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001 (the coroutine gets it)
                resume = _raising(carried, error)
            else:
                resume = _sending(carried, value)


def _sending(carried: Any, value: Any) -> Callable[[], Any]:
    return lambda: carried.switch((value, None))


def _raising(carried: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: carried.switch((None, error))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end and return its result, in a greenlet that `Carried` has started."""
    carrier = getcurrent().parent
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        value, error = carrier.switch(waits_for)
