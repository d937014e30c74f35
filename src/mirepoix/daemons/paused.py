"""What a worker knows of what is paused. If the ledger cannot be read, it keeps what it knew last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mirepoix.ledger.holds import Hold, Kind
from mirepoix.ledger.limits import name_of
from mirepoix.ledger.query.releases import RELEASE
from mirepoix.records import Worker


@dataclass(frozen=True, slots=True)
class Paused:
    """What is paused for one worker. Every thread reads it; the maintenance thread replaces it."""

    queues: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """The names of tasks."""
    keys: frozenset[str] = frozenset()
    """The keys of limits, and the names of limits that are paused with all their keys."""
    is_drained: bool = False
    """Whether the worker itself, or its release, is paused."""
    version: int = field(default=0, compare=False)
    """Another number after each change."""

    def after(self, holds: Iterable[Hold], worker: Worker) -> Paused:
        """Return what *holds* mean for the worker; the same object if nothing has changed."""
        found = list(holds)
        own = {(Kind.WORKER, worker.name), (Kind.RELEASE, worker.software.get(RELEASE))}
        new = Paused(
            frozenset(hold.value for hold in found if hold.kind is Kind.QUEUE),
            frozenset(hold.value for hold in found if hold.kind is Kind.TASK),
            frozenset(hold.value for hold in found if hold.kind is Kind.LIMIT),
            any((hold.kind, hold.value) in own for hold in found),
            self.version + 1,
        )
        return self if new == self else new

    def closed(self, queues: Iterable[str]) -> frozenset[str]:
        """Return those of *queues* from which the worker takes nothing."""
        return frozenset(queue for queue in queues if self.is_drained or queue in self.queues)

    def open(self, queues: Iterable[str]) -> list[str]:
        """Return those of *queues* from which the worker takes tasks."""
        return [queue for queue in queues if not self.is_drained and queue not in self.queues]

    def stops(self, queue: str, name: str, key: str | None) -> bool:
        """Whether a task that has not begun goes back. A worker that is paused finishes what it has."""
        return queue in self.queues or name in self.names or self.stops_key(key)

    def stops_key(self, key: str | None) -> bool:
        """Whether no task with that key of a limit is taken."""
        return bool(self.keys) and key is not None and (key in self.keys or name_of(key) in self.keys)

    def __str__(self) -> str:
        """What is paused, in words."""
        words = [f"queue {queue!r}" for queue in sorted(self.queues)]
        words += [f"task {name!r}" for name in sorted(self.names)]
        words += [f"limit {key!r}" for key in sorted(self.keys)]
        words += ["this worker"] if self.is_drained else []
        return ", ".join(words) or "nothing"

    def __bool__(self) -> bool:
        return bool(self.queues or self.names or self.keys or self.is_drained)
