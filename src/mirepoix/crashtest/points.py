"""Points at which a task can die, and one delivery that dies at the point a test planned.

A death is played by an exception that user code cannot survive: from then on every point of the delivery raises it
again, so that neither ``finally:`` nor ``except BaseException`` has an effect outside of the process.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirepoix.crashtest.journal import Journal


class Died(BaseException):
    """The process is dead. Not an Exception: ``except Exception`` does not catch it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.path).name}:{self.line}" if self.path else "?"

    @property
    def text(self) -> str:
        """The line itself."""
        return linecache.getline(self.path, self.line).strip() if self.path else ""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that a task did: *is_durable* if it outlives the process once it is done."""

    kind: str
    label: str
    is_durable: bool
    source: Source

    @property
    def where(self) -> str:
        """It and its line, for people."""
        return f"{self.label} ({self.source})"

    @property
    def shape(self) -> tuple[str, str, Source]:
        """What repetitions in a loop have in common."""
        return (self.kind, self.label.partition("(")[0], self.source)


class Gate:
    """Where one delivery waits before the point of that *index*, while another runs."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        """Until the other has ended, or waits for a lock of this one."""
        self.reached.set()
        self.opened.wait()


@dataclass(slots=True)
class Delivery:
    """One attempt by one process. *dies_at* is the index of a point, and ``before`` or ``after``."""

    journal: Journal
    task_id: str
    task_name: str
    dies_at: tuple[int, str] | None = None
    gate: Gate | None = None
    points: list[Point] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    unmodelled: set[str] = field(default_factory=set)
    is_dead: bool = False
    is_committed: bool = False
    """Whether an outermost transaction of a database was committed."""
    base_depth: dict[str, int] = field(default_factory=dict)
    """How deep in atomic blocks each of Django's databases was before the task; absent: not in any."""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Effects that become real with the commit of SQLAlchemy's transaction."""
    base_hooks: dict[str, int] = field(default_factory=dict)
    """How many functions waited for the commit of the test itself, by database."""
    nested: int = 0

    @contextmanager
    def point(
        self, kind: str, label: str, *, is_durable: bool, undo: Callable[[], Any] | None = None
    ) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Around what is done; yields what notes its effect in the journal. Within another point it is none."""
        if self.is_dead:
            raise Died
        if self.nested:
            yield _no_effect
            return
        index = len(self.points)
        self.points.append(Point(kind, label, is_durable, user_line()))
        if self.dies_at == (index, "before"):
            self.die(undo)
        if self.gate is not None and self.gate.index == index:
            self.gate.wait()
        effects: list[dict[str, Any]] = []
        self.nested += 1
        try:
            yield effects.append
        finally:
            self.nested -= 1
        for effect in effects:
            self.journal.add(effect)
        if self.dies_at == (index, "after"):
            self.die(None)

    def die(self, undo: Callable[[], Any] | None) -> None:
        """What a server does when its client vanishes, first: else libraries trip over an open transaction."""
        if undo is not None:
            undo()
        self.is_dead = True
        raise Died


def _no_effect(_: dict[str, Any]) -> None:
    """It belongs to the point around it."""


_current: ContextVar[Delivery | None] = ContextVar("mirepoix_crashtest_delivery", default=None)


def current() -> Delivery | None:
    """The delivery whose code runs in this context, or None."""
    return _current.get()


@contextmanager
def delivering(delivery: Delivery) -> Iterator[None]:
    """Around a delivery."""
    token = _current.set(delivery)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def outside() -> Iterator[None]:
    """Around what the tester itself does."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


_LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), "<"})
_OWN = str(Path(__file__).parent.parent)


def is_of_user(path: str) -> bool:
    """Whether the file is neither a library's nor ours."""
    return not path.startswith(_LIBRARIES) and not path.startswith(_OWN)


def user_line() -> Source:
    """The innermost line that is neither a library's nor ours."""
    frame = sys._getframe(1)  # noqa: SLF001 (its documented use)
    while frame is not None:
        path = frame.f_code.co_filename
        if is_of_user(path):
            return Source(path, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return Source("", 0)
