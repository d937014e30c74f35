"""Detect effects that no hook covers: a connection or a process that a task opens outside every known point.

Python's audit events report them. They do not report what a C library does, nor connections that were open before.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from mirepoix.crashtest.places import comes_through, user_line
from mirepoix.crashtest.points import current, is_within

_EVENTS = frozenset(
    {
        "socket.connect",
        "socket.sendto",
        "sqlite3.connect",
        "subprocess.Popen",
        "os.system",
        "os.posix_spawn",
        "os.fork",
    }
)

_DATABASES = ("/django/db/", "/sqlalchemy/", "/psycopg/")
"""Paths of the libraries that connect to a watched database."""


@cache
def watch() -> None:
    """Watch from now on. An audit hook cannot be removed, and it costs nothing outside a delivery."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    delivery = current()
    if delivery is None or is_within() or delivery.is_dead or comes_through(*_DATABASES):
        return
    if event == "sqlite3.connect" and args[0] == ":memory:":
        return
    delivery.unmodelled.add(f"{event} at {user_line(delivery.home)}")
