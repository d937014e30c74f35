"""Which crashes are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirepoix.crashtest.points import Point

MODES = ("sampled", "pruned", "exhaustive")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What was planned: to die at a point, or (None) to finish, unacknowledged."""

    dies_at: tuple[int, str] | None


def planned(points: Sequence[Point], mode: str, *, is_redelivered: bool) -> list[Schedule]:
    """The schedules of *mode*: delivered twice first, which is cheapest and finds most."""
    if mode == "exhaustive":
        deaths = [(index, side) for index in range(len(points)) for side in ("before", "after")]
        return [Schedule(None), *map(Schedule, deaths)]
    after = [index for index, point in enumerate(points) if point.is_durable and index + 1 < len(points)]
    if mode == "sampled":
        alike: dict[object, list[int]] = {}
        for index in after:
            alike.setdefault(points[index].shape, []).append(index)
        after = sorted({index for group in alike.values() for index in (*group[:2], group[-1])})
    after = sorted({*after, *(index - 1 for index, point in enumerate(points) if point.follows_thread)})
    if not is_redelivered:  # a death before anything is done loses all of it
        after = [-1, *after]
    # What was just done is durable only once the next thing would begin: an INSERT..RETURNING of SQLite is not
    # committed when execute() returns.
    return [Schedule(None), *(Schedule((index + 1, "before")) for index in after)]


def overlapping(points: Sequence[Point], mode: str) -> list[Schedule]:
    """A second delivery while the first one waits before each thing that it does; of a loop only before the first."""
    first: dict[object, int] = {}
    for index, point in enumerate(points):
        first.setdefault(point.shape if mode == "sampled" else index, index)
    return [Schedule((index, "overlap")) for index in first.values()]
