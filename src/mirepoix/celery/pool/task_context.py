"""Give each attempt in an event loop its own current task and request of Celery.

Celery keeps them on stacks, one for each thread or greenlet. Here it is one for each attempt, in all asyncio tasks that
the attempt starts in the loop's thread: a context variable says which attempt it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mirepoix.celery import private

_attempt: ContextVar[tuple[object, int] | None] = ContextVar("mirepoix_celery_stack", default=None)
"""What identifies the stacks, and the thread in which it does."""


def install(app: Any) -> None:
    """Let Celery's stacks of this process belong to attempts. Call it in a process that runs tasks in a loop."""
    private.identify_stacks(app, _identity)


def _identity() -> object:
    found = _attempt.get()
    return found[0] if found is not None and found[1] == threading.get_ident() else private.identity_of_thread()


def begin(identity: object) -> None:
    """From now on the code in this context, and what it starts in this thread, has the stacks of *identity*."""
    _attempt.set((identity, threading.get_ident()))


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Use the stacks of the same attempt in another thread, while the attempt waits for it."""
    found = _attempt.get()
    token = _attempt.set(None if found is None else (found[0], threading.get_ident()))
    try:
        yield
    finally:
        _attempt.reset(token)
