"""Which attempt of an event loop's pool the calling code belongs to. Without that pool there is none."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mirepoix.celery.pool.in_loop import InLoop  # it needs greenlet, which other pools do without

T = TypeVar("T")

current: ContextVar[InLoop | None] = ContextVar("mirepoix_in_loop", default=None)
"""The attempt of this context, also in what its code has started."""


def tracer() -> InLoop | None:
    """The attempt, if the calling code is its tracer and not its coroutine: only there a call may wait for the loop."""
    attempt = current.get()
    return attempt if attempt is not None and attempt.may_await else None


def apart(function: Callable[[], T]) -> T:
    """Call *function*, which waits for the database. The tracer of an attempt in a loop waits for a thread instead."""
    attempt = tracer()
    return function() if attempt is None else attempt.apart(function)
