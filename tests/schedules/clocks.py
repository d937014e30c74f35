"""A ledger whose clock the test holds, and a sender that makes messages without Celery."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from driver import envelope
from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import schedules
from mirepoix.ledger.tx import Tx
from mirepoix.records import Outgoing
from mirepoix.schedules.changing import put
from mirepoix.schedules.definition import DATABASE, Definition
from mirepoix.schedules.firing import Firing
from mirepoix.schedules.plan import Plan

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    """The ledger's clock. It stands still until the test moves it."""

    now: datetime = NOON

    def __call__(self, tx: Tx) -> datetime:
        """The time, as a transaction reads it."""
        return self.now

    def passes(self, **duration: float) -> None:
        """Move the clock, forwards or backwards."""
        self.now += timedelta(**duration)


@dataclass
class MessageSender:
    """Makes a message for each run, and remembers which runs were ended."""

    unknown: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    ended: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def knows(self, task: str) -> bool:
        return task not in self.unknown

    def make(self, name: str, definition: Definition, fire_at: datetime) -> list[Outgoing]:
        if name in self.broken:
            raise ValueError("secret argument")
        return [envelope(f"{name}@{fire_at.isoformat()}#{next(self._numbers)}", name=definition.task)]

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return list(items)

    def announce(self, items: Sequence[Outgoing]) -> None:
        """There is no broker."""

    def end(self, task_ids: Sequence[str], *, kill: bool) -> None:
        self.ended.append((tuple(task_ids), kill))


class Scheduled:
    """The schedules of a ledger, driven step by step."""

    def __init__(self, connection: OwnConnection) -> None:
        self.connection = connection
        self.clock = Clock()
        self.sender = MessageSender()
        self.firing = Firing(self.sender, self.clock)

    def add(self, name: str, task: str = "note", **plan: Any) -> bool:
        """Add or change a schedule of the database."""
        definition = Definition(task, Plan(**plan))
        return put(self.connection, self.firing, name, definition, owner=DATABASE, app="", by="ana")

    def fire(self) -> float:
        """Fire what is due, as a worker does; return how long it would wait."""
        return self.firing.fire(self.connection)

    def fire_all(self) -> None:
        """Fire until nothing is due."""
        for _ in range(10_000):
            if self.fire() > 0:
                return
        raise AssertionError("there is no end")

    def fires(self, name: str) -> list[tuple[str, str, str | None]]:
        """The decisions about a schedule, the oldest first: the fire time, the state and the reason."""
        with self.connection.reading() as tx:
            found = schedules.latest(tx, name, 100_000)
        return [(f"{row.fire_at:%m-%d %H:%M:%S}", row.state, row.reason) for row in reversed(found)]

    def states(self, name: str) -> list[str]:
        """The states of the fire times, the oldest first."""
        return [state for _, state, _ in self.fires(name)]

    def row(self, name: str) -> schedules.ScheduleRow:
        """The schedule's row."""
        with self.connection.reading() as tx:
            found = schedules.find(tx, name)
        assert found is not None
        return found
