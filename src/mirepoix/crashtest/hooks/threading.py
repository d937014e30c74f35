"""Threads that a task starts. They belong to its delivery, so their actions are recorded."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import Any

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import beside, current


def install(stack: ExitStack) -> None:
    """Install the hook until *stack* is closed."""
    replace(stack, threading.Thread, "start", _starting)


def _starting(original: Any) -> Any:
    def start(self: Any) -> None:
        delivery = current()
        if delivery is not None:
            self.run = partial(beside, delivery, self.run)
        original(self)

    return start
