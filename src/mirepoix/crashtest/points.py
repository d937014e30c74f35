"""The points at which a task can die, and a delivery that dies at the planned point.

An exception simulates the crash. User code cannot survive it: from then on every point of the delivery raises it again,
so neither ``finally:`` nor ``except BaseException`` has an effect outside the process. With ``kill=True`` a child
process is killed instead (`mirepoix.crashtest.forked`).
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
"""The prefix of unmodelled actions in threads. Crashes were tried after them, but not during them."""


class Died(BaseException):
    """The simulated crash. It is not an Exception, so ``except Exception`` does not catch it."""


@dataclass(frozen=True, slots=True)
class Point:
    """An action of a task. It *is_durable* if it outlives the process once it is done."""

    kind: str
    label: str
    is_durable: bool
    source: Source
    follows_thread: bool = False
    """Whether a thread of the task did something durable after the previous point."""

    @property
    def where(self) -> str:
        """The point and its line, for people."""
        return f"{self.label} ({self.source})"

    @property
    def shape(self) -> tuple[str, str, Source]:
        """The part that repetitions in a loop share."""
        return (self.kind, self.label.partition("(")[0], self.source)


class Gate:
    """A gate that holds one delivery before the point *index* while another runs."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        """Wait until the other delivery has ended, or waits for a lock of this one."""
        self.reached.set()
        self.opened.wait()


@dataclass(slots=True)
class Delivery:
    """One delivery by one process. *dies_at* is the index of a point, and ``before`` or ``after``."""

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
    """Whether a database committed an outermost transaction."""
    base_depth: dict[str, int] = field(default_factory=dict)
    """The depth in atomic blocks of each Django database before the task. A missing database was not in any."""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Effects that become real when SQLAlchemy's transaction commits."""
    base_hooks: dict[str, int] = field(default_factory=dict)
    """The number of functions that waited for the test's own commit, by database."""
    home: str = ""
    """The place of the task's code, if it is among the libraries (`mirepoix.crashtest.places`)."""
    steps: set[str] = field(default_factory=set)
    """The names of the steps that the task called."""
    is_over: bool = False
    done_beside: bool = False
    """Whether a thread did something durable since the last point."""
    kill: Callable[[], None] | None = None
    """Kills this process, if it is a child that was made for that."""

    @contextmanager
    def point(
        self, kind: str, label: str, *, is_durable: bool, undo: Callable[[], Any] | None = None
    ) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Surround an action. Yields the function that records its effect. Within another point it does nothing."""
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
        """Surround an action in a thread of the task. It is recorded, but nothing dies there: waiters would hang."""
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
        """Undo open transactions as a server does for a lost client, because libraries would fail on them. Then die."""
        if self.kill is not None:
            self.kill()
        if undo is not None:
            undo()
        self.is_dead = True
        raise Died


def _no_effect(_: dict[str, Any]) -> None:
    """The enclosing point records the effect."""


_current: ContextVar[Delivery | None] = ContextVar("mirepoix_crashtest_delivery", default=None)


def current() -> Delivery | None:
    """Return the delivery that runs in this context, or None."""
    return _current.get()


@contextmanager
def delivering(delivery: Delivery) -> Iterator[None]:
    """Set the delivery of this context."""
    token = _current.set(delivery)
    try:
        yield
    finally:
        delivery.is_over = True
        _current.reset(token)


_is_beside: ContextVar[bool] = ContextVar("mirepoix_crashtest_is_beside", default=False)
_within: ContextVar[bool] = ContextVar("mirepoix_crashtest_within", default=False)


def is_within() -> bool:
    """Whether this code is part of a point. Concurrent coroutines are not part of each other's points."""
    return _within.get()


@contextmanager
def within() -> Iterator[None]:
    """Mark the code inside as part of a point."""
    token = _within.set(True)
    try:
        yield
    finally:
        _within.reset(token)


def is_beside() -> bool:
    """Whether this is a thread that the task started."""
    return _is_beside.get()


def beside(delivery: Delivery, run: Callable[[], Any]) -> None:
    """Run *run* in a thread of *delivery*, in that thread's own context."""
    _current.set(delivery)
    _is_beside.set(True)
    try:
        run()
    except Died:
        return  # it dies with its process


@contextmanager
def outside() -> Iterator[None]:
    """Mark the code inside as the tester's own."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
