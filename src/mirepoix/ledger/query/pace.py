"""Read how fast queues move, how long their tasks run, how many fail, and what is taken before one waiting task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx
from mirepoix.states import AttemptOutcome

SAMPLE = 2_000
"""The most succeeded tasks that are read to see how fast a queue moves."""

SINCE_S = 300.0
"""How far back they are read."""

AHEAD_MOST = 10_000
"""The most tasks ahead of a task that are counted."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that succeeded *ago_s* seconds ago."""

    queue: str
    name: str
    run_time_s: float | None
    ago_s: float
    arrived_ago_s: float | None = None
    """How long ago it became ready for the first time: it was sent, or its ETA came."""


@dataclass(frozen=True, slots=True)
class Others:
    """How many tasks of a queue arrived in the same time and have not succeeded, and how many ended without success."""

    queue: str
    arrived: int
    ended: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The tasks that succeeded in the last *span_s* seconds, up to `SAMPLE`."""

    span_s: float
    ended: tuple[Ended, ...]
    others: tuple[Others, ...] = ()

    def rates(self) -> dict[str, float]:
        """Return for each queue how many tasks a second end: succeed, or fail for good if that was read."""
        counts = {other.queue: other.ended for other in self.others}
        for task in self.ended:
            counts[task.queue] = counts.get(task.queue, 0) + 1
        return {queue: number / self.span_s for queue, number in counts.items()}

    def arrivals(self) -> dict[str, float]:
        """Return for each queue how many tasks a second become ready. Cancelled and expired tasks are not counted."""
        counts = {other.queue: other.arrived for other in self.others}
        for task in self.ended:
            if task.arrived_ago_s is not None and task.arrived_ago_s <= self.span_s:
                counts[task.queue] = counts.get(task.queue, 0) + 1
        return {queue: number / self.span_s for queue, number in counts.items()}

    def run_times(self) -> dict[str, list[float]]:
        """Return for each task name the run times, the shortest first."""
        found: dict[str, list[float]] = {}
        for task in self.ended:
            if task.run_time_s is not None:
                found.setdefault(task.name, []).append(task.run_time_s)
        return {name: sorted(times) for name, times in found.items()}


@dataclass(frozen=True, slots=True)
class Share:
    """The attempts of one task name that ended lately: ``succeeded``, ``failed`` by an error, and ``died``."""

    name: str
    succeeded: int
    failed: int
    died: int

    @property
    def ended(self) -> int:
        """All of them."""
        return self.succeeded + self.failed + self.died

    @property
    def failing(self) -> float:
        """The share that did not succeed, from 0 to 1."""
        return (self.failed + self.died) / self.ended


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a waiting task in its queue, and its message in the broker.

    ``ahead`` is None if the task is not ready. ``has_message`` is None without a broker.
    """

    queue: str
    ahead: int | None
    is_suspect: bool
    has_message: bool | None
    sent_s: float | None


def pace(tx: Tx, since_s: float = SINCE_S, cap: int = SAMPLE) -> Pace:
    """Read the tasks that succeeded lately. If there are more than *cap*, the span is shorter."""
    rows = tx.fetch("succeeded_lately", since_s=since_s, cap=cap)
    ended = tuple(
        Ended(row.queue, row.name, row.run_time_s, seconds(row.ago_s) or 0.0, seconds(row.arrived_ago_s))
        for row in rows
    )
    return Pace(max(0.001, _oldest(ended)) if len(ended) == cap else since_s, ended)


def shares(tx: Tx, lately: Pace, cap: int = SAMPLE) -> list[Share]:
    """Return the task names with attempts that failed or died in the span of *lately*, the most of them first.

    It is a sample. A task that is ready again after a failure is counted when a worker has taken it.
    """
    failed: dict[str, int] = {}
    died: dict[str, int] = {}
    for row in tx.fetch("failed_lately", since_s=lately.span_s, cap=cap):
        counts = died if row.outcome in (AttemptOutcome.KILLED, AttemptOutcome.LOST) else failed
        counts[row.name] = counts.get(row.name, 0) + row.attempts
    succeeded: dict[str, int] = {}
    for task in lately.ended:
        succeeded[task.name] = succeeded.get(task.name, 0) + 1
    found = [
        Share(name, succeeded.get(name, 0), failed.get(name, 0), died.get(name, 0)) for name in failed.keys() | died
    ]
    return sorted(found, key=lambda share: (-share.failed - share.died, share.name))


def pace_with_arrivals(tx: Tx) -> Pace:
    """Read the `pace`, and which tasks became ready in the same time. This reads all tasks that wait."""
    moves = pace(tx)
    rows = tx.fetch("arrived_lately", since_s=moves.span_s)
    return replace(moves, others=tuple(Others(row.queue, int(row.arrived), int(row.ended)) for row in rows))


def place(tx: Tx, task_id: str) -> Place | None:
    """Return the place of a task that waits, or None if the ledger has no such task or it does not wait."""
    rows = tx.fetch("waiting_of_task", task_id=task_id)
    if not rows or rows[0].state != "pending":
        return None
    (row,) = rows
    ahead = None
    if row.is_ready:
        found = tx.fetch("ahead_of_task", queue=row.queue, priority=row.priority, seq=row.seq, cap=AHEAD_MOST)
        ahead = int(found[0].tasks)
    has_message = None if row.sent_fence is None else row.sent_fence == row.fence
    return Place(row.queue, ahead, bool(row.is_suspect), has_message, seconds(row.sent_s))


def _oldest(ended: Iterable[Ended]) -> float:
    return max(task.ago_s for task in ended)
