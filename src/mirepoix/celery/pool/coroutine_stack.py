"""The stack of a coroutine that waits: in which files, lines and functions. It shows no values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirepoix.celery.pool.in_loop import InLoop

MOST_CHILDREN = 20
"""Of so many asyncio tasks of one attempt the stacks are shown."""


def of_attempt(attempt: InLoop) -> str:
    """The stacks of its coroutine and of the asyncio tasks that it has started, in the form of `faulthandler`."""
    blocks: list[tuple[str, Any]] = [("Coroutine of the task", attempt.coroutine)]
    children = [child for child in attempt.children if not child.done()]
    blocks += [(f"Its asyncio task {child.get_name()}", child.get_coro()) for child in children[:MOST_CHILDREN]]
    texts = [f"{title} (most recent call first):\n{''.join(_lines(waiting))}" for title, waiting in blocks]
    if len(children) > MOST_CHILDREN:
        texts.append(f"and {len(children) - MOST_CHILDREN} more asyncio tasks\n")
    return "\n".join(texts)


def _lines(waiting: Any) -> Iterator[str]:
    frames = []
    while waiting is not None:
        frame, waiting = _frame_and_next(waiting)
        if frame is not None:
            frames.append(frame)
    for frame in reversed(frames):
        yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n'
    if not frames:
        yield "  it waits for the outcome of the task to be recorded, or has not begun\n"


def _frame_and_next(waiting: Any) -> tuple[Any, Any]:
    """The frame of what waits, and what that waits for: a coroutine, a generator or an asynchronous generator."""
    if isinstance(waiting, asyncio.Future):
        return None, None
    for prefix in ("cr", "gi", "ag"):
        frame = getattr(waiting, f"{prefix}_frame", None)
        if frame is not None:
            following = "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await"
            return frame, getattr(waiting, following, None)
    return None, None
