"""Connections whose owner nobody has any more: Celery and its users drop apps and connections without closing them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Protocol


class Closable(Protocol):
    """A connection of ours."""

    def close(self) -> None:
        """End it."""


def close_when_dropped(owner: object, connections: Sequence[Closable]) -> weakref.finalize:  # type: ignore[type-arg]
    """Close what *connections* holds by then, when *owner* is collected or the interpreter ends.

    A forked child leaves them open, as closing them would end its parent's sessions. *connections* must not lead to
    *owner*.
    """
    return weakref.finalize(owner, _close, connections, os.getpid())


def _close(connections: Sequence[Closable], pid: int) -> None:
    if os.getpid() == pid:
        for connection in connections:
            connection.close()
