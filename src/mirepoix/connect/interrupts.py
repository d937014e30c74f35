"""Delay a worker's signal handlers while their thread is inside a short transaction of Mirepoix.

Python runs signal handlers in the main thread, between any two of its instructions. Celery's handlers do more than set
a flag: the handler of a cold shutdown sleeps (the soft shutdown) and stores results. If it ran inside a transaction of
the main thread, it would sleep with that transaction's locks and then wait for them itself. On SQLite the lock covers
the whole file.

A handler that `held_back` wraps runs after the transaction. Handlers are not delayed inside the transaction of a task,
because a task may be long and a cold shutdown has to interrupt it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Here(threading.local):
    """The state of this thread (or of this greenlet, if gevent has patched threads)."""

    depth = 0
    waiting: tuple[int, ...] = ()


_here = _Here()

Handler = Callable[[int, Any], Any]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the handlers that `held_back` wraps until the end of the block."""
    _here.depth += 1
    try:
        yield
    finally:
        _here.depth -= 1
        if _here.waiting and not _here.depth:
            waiting, _here.waiting = _here.waiting, ()
            for number in waiting:
                signal.raise_signal(number)


def held_back(handler: Handler) -> Handler:
    """Wrap *handler* so that it waits for `uninterrupted` blocks. A signal that comes twice is handled once."""

    def handle(number: int, frame: Any) -> None:
        if not _here.depth:
            handler(number, frame)
        elif number not in _here.waiting:
            _here.waiting += (number,)

    return handle
