"""Close the connections of an owner that is dropped without being closed, as Celery drops apps and connections."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Protocol


class Closable(Protocol):
    """A connection of Mirepoix."""

    def close(self) -> None:
        """Close the connection."""


def close_when_dropped(owner: object, connections: Sequence[Closable]) -> weakref.finalize:  # type: ignore[type-arg]
    """Close the content of *connections* when *owner* is collected or the interpreter ends.

    A forked child leaves them open, because closing them would end its parent's sessions. *connections* must not refer
    to *owner*.
    """
    return weakref.finalize(owner, _close, connections, os.getpid())


def _close(connections: Sequence[Closable], pid: int) -> None:
    if os.getpid() == pid:
        for connection in connections:
            connection.close()
