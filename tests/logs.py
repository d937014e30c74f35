"""The logs of servers and workers. A test that fails shows what they said since it began."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

LAST = 20_000
"""How many characters of each log are shown at most."""


class Log:
    """What a process says. It is shown as long as somebody holds this object."""

    _all: ClassVar[weakref.WeakSet[Log]] = weakref.WeakSet()

    def __init__(self, name: str, read: Callable[[], str]) -> None:
        self.name = name
        self._read = read
        self._shown = 0
        Log._all.add(self)

    @classmethod
    def of_file(cls, name: str, path: Path) -> Log:
        """One that is in a file, or will be."""
        return cls(name, lambda: path.read_text(errors="replace") if path.exists() else "")

    @classmethod
    def begin(cls) -> None:
        """A test begins: forget what was said before."""
        for log in cls._all:
            log._shown = len(log._read())

    @classmethod
    def since_then(cls) -> Iterator[tuple[str, str]]:
        """The name of each process that has said something since, and what it said."""
        for log in sorted(cls._all, key=lambda it: it.name):
            if said := log._read()[log._shown :]:
                yield log.name, said if len(said) <= LAST else f"[...]\n{said[-LAST:]}"
