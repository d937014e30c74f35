"""Points at which a task can die, and one delivery that dies at the point a test planned.

A death is played by an exception that user code cannot survive: from then on every point of the delivery raises it
again, so that neither ``finally:`` nor ``except BaseException`` has an effect outside of the process. In a child that
was made for it, the process is killed instead: see `mirepoix.crashtest.forked`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from mirepoix.crashtest.journal import Journal
from mirepoix.crashtest.places import Source, user_line

IN_A_THREAD = "in a thread: "
"""How the unmodelled begins after which crashes were tried, but none amid it."""


class Died(BaseException):
    """The process is dead. Not an Exception: ``except Exception`` does not catch it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that a task did: *is_durable* if it outlives the process once it is done."""

    kind: str
    label: str
    is_durable: bool
    source: Source
    follows_thread: bool = False
    """Whether a thread of the task did something durable since the point before."""

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
    home: str = ""
    """Where the code of the task is, if that is among the libraries: see `mirepoix.crashtest.places`."""
    steps: set[str] = field(default_factory=set)
    """The names of the steps that it called."""
    is_over: bool = False
    done_beside: bool = False
    """Whether a thread did something durable since the last point."""
    kill: Callable[[], None] | None = None
    """Ends this process, if it is one that was made to be killed."""

    @contextmanager
    def point(
        self, kind: str, label: str, *, is_durable: bool, undo: Callable[[], Any] | None = None
    ) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Around what is done; yields what notes its effect in the journal. Within another point it is none."""
        if is_beside():
            with self._beside(kind, is_durable=is_durable) as note:
                yield note
            return
        if self.is_dead:
            raise Died
        if is_within():
            yield _no_effect
            return
        index = len(self.points)
        self.points.append(Point(kind, label, is_durable, user_line(self.home), self.done_beside))
        self.done_beside = False
        if self.dies_at == (index, "before"):
            self.die(undo)
        if self.gate is not None and self.gate.index == index:
            self.gate.wait()
        effects: list[dict[str, Any]] = []
        with within():
            yield effects.append
        for effect in effects:
            self.journal.add({**effect, "source": self.points[index].source})
        if self.dies_at == (index, "after"):
            self.die(None)

    @contextmanager
    def _beside(self, kind: str, *, is_durable: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
        """In a thread that the task began: what it does is noted, but nobody dies there, for who waits for it hangs."""
        if self.is_dead and not self.is_over:
            raise Died
        if is_within():
            yield _no_effect
            return
        effects: list[dict[str, Any]] = []
        with within():
            yield effects.append
        source = user_line(self.home)
        for effect in effects:
            self.journal.add({**effect, "source": source})
        if is_durable:
            self.done_beside = True
            self.unmodelled.add(f"{IN_A_THREAD}{kind} at {source}")

    def die(self, undo: Callable[[], Any] | None) -> None:
        """What a server does when its client vanishes, first: else libraries trip over an open transaction."""
        if self.kill is not None:
            self.kill()
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
        delivery.is_over = True
        _current.reset(token)


_is_beside: ContextVar[bool] = ContextVar("mirepoix_crashtest_is_beside", default=False)
_within: ContextVar[bool] = ContextVar("mirepoix_crashtest_within", default=False)


def is_within() -> bool:
    """Whether this is part of a point. Coroutines that run at once are not part of each other's."""
    return _within.get()


@contextmanager
def within() -> Iterator[None]:
    """Around what is part of a point."""
    token = _within.set(True)
    try:
        yield
    finally:
        _within.reset(token)


def is_beside() -> bool:
    """Whether this is a thread that the task began."""
    return _is_beside.get()


def beside(delivery: Delivery, run: Callable[[], Any]) -> None:
    """Run what a thread of *delivery* is for, in that thread's own context."""
    _current.set(delivery)
    _is_beside.set(True)
    try:
        run()
    except Died:
        return  # with its process


@contextmanager
def outside() -> Iterator[None]:
    """Around what the tester itself does."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
