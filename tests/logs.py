"""The logs of servers and workers. A test that fails shows what they said since it began."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

LAST = 20_000
"""How many characters of each log are shown at most."""


class Log:
    """What one process says, in a file. It is shown as long as somebody holds this object."""

    _all: ClassVar[weakref.WeakSet[Log]] = weakref.WeakSet()

    def __init__(self, name: str, path: Path, state: Callable[[], str] = str) -> None:
        self._name = name
        self._path = path
        self._state = state
        self._begin = 0
        Log._all.add(self)

    @classmethod
    def begin(cls) -> None:
        """A test begins: forget what was said before."""
        for log in cls._all:
            log._begin = log._path.stat().st_size if log._path.exists() else 0

    @classmethod
    def since_then(cls) -> Iterator[tuple[str, str]]:
        """The name of each process that has said something since, with its state, and what it said."""
        for log in sorted(cls._all, key=lambda it: it._name):
            if said := log._said():
                yield f"{log._name}{log._state()}", said if len(said) <= LAST else f"[...]\n{said[-LAST:]}"

    def _said(self) -> str:
        if not self._path.exists():
            return ""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")
