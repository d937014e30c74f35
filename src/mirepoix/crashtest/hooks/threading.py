"""Threads that a task begins: they belong to its delivery, so that what they do is noted."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import Any

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import beside, current


def install(stack: ExitStack) -> None:
    """Until *stack* is closed."""
    replace(stack, threading.Thread, "start", _starting)


def _starting(original: Any) -> Any:
    def start(self: Any) -> None:
        if current() is not None:
            self.run = partial(copy_context().run, beside, self.run)
        original(self)

    return start
