"""Hold back a worker's signals while the thread that would handle them is inside a short transaction of ours.

Python runs the handler of a signal in the main thread, between any two of its instructions. Celery's handlers do much
more than set a flag: that of a cold shutdown sleeps (the soft shutdown) and stores results. If it ran inside a
transaction of the main thread, it would sleep with that transaction's locks, and then wait for them itself. On SQLite
the lock is the whole file.

A handler that was wrapped by `held_back` runs when the transaction is over. Nothing is held back inside the transaction
of a task: a task may be long, and a cold shutdown is there to cut it short.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Here(threading.local):
    """Where this thread is (this greenlet, if gevent has patched threads)."""

    depth = 0
    waiting: tuple[int, ...] = ()


_here = _Here()

Handler = Callable[[int, Any], Any]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """No handler that was wrapped by `held_back` runs in this block. Those that were due run at its end."""
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
    """That handler, but not inside of `uninterrupted`. A signal that comes twice meanwhile is handled once."""

    def handle(number: int, frame: Any) -> None:
        if not _here.depth:
            handler(number, frame)
        elif number not in _here.waiting:
            _here.waiting += (number,)

    return handle
