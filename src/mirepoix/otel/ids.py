"""Ids of spans that every process can compute: of an attempt, and of the wait before it.

The process that runs an attempt may be killed before it exports its span. Then the process that finds the death writes
the span. Both give it the same id, so spans that were exported within the attempt have their parent, and a later
attempt can link to the earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_next: ContextVar[int | None] = ContextVar("mirepoix_span_id", default=None)


def span_id(kind: str, task_id: str, fence: int) -> int:
    """Return the id of the span of an attempt (*kind* ``process``) or of the wait before it (``wait``)."""
    digest = hashlib.sha256(f"{kind}:{fence}:{task_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


@contextmanager
def giving(id: int) -> Iterator[None]:
    """Give the next span inside the block that id, if the tracer's ids are `Ids`."""
    token = _next.set(id)
    try:
        yield
    finally:
        _next.reset(token)


class Ids:
    """An id generator of the SDK that gives a span the id that was chosen for it. All other ids are *other*'s."""

    def __init__(self, other: Any) -> None:
        self._other = other

    def generate_span_id(self) -> int:
        """Return the chosen id once, or a random one."""
        chosen = _next.get()
        if chosen is None:
            return int(self._other.generate_span_id())
        _next.set(None)
        return chosen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)


def use_ids(tracer: Any) -> None:
    """Let *tracer* give chosen ids. A tracer that has no id generator (not the SDK's) gives its own."""
    other = getattr(tracer, "id_generator", None)
    if other is not None and not isinstance(other, Ids):
        tracer.id_generator = Ids(other)
