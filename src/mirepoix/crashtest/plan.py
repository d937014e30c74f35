"""Which crashes are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mirepoix.crashtest.points import Point

MODES = ("sampled", "pruned", "exhaustive")

MOST_DEATHS = 2


Place = tuple[int, str]
"""The index of a point, and ``before``, ``after`` or ``overlap``."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What was planned: to die at a point, or (None) to finish, unacknowledged."""

    dies_at: Place | None
    then: Schedule | None = None
    """How the redelivery dies as well; None: it runs to its end."""

    @property
    def deaths(self) -> tuple[Place | None, ...]:
        """Where each delivery dies, in their order."""
        return (self.dies_at, *(self.then.deaths if self.then is not None else ()))

    @property
    def is_overlap(self) -> bool:
        """Whether nobody dies, but two run at once."""
        return self.dies_at is not None and self.dies_at[1] == "overlap"

    def __str__(self) -> str:
        """As ``at=`` takes it: ``3:before``, ``end``, ``3:before,1:before``."""
        return ",".join("end" if place is None else f"{place[0] + 1}:{place[1]}" for place in self.deaths)


def scheduled(at: str) -> Schedule | None:
    """What ``str()`` wrote, or None if *at* says nothing of the kind."""
    parts = [part.strip() for part in at.split(",")]
    places: list[Place | None] = []
    for part in parts:
        number, _, side = part.partition(":")
        if part == "end":
            places.append(None)
        elif number.isdigit() and int(number) and side in {"before", "after", *(["overlap"] * (len(parts) == 1))}:
            places.append((int(number) - 1, side))
        else:
            return None
    if len(places) > MOST_DEATHS:
        return None
    then = Schedule(places[1]) if len(places) > 1 else None
    return Schedule(places[0], then)


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


def planned_again(first: Schedule, points: Sequence[Point], mode: str) -> list[Schedule]:
    """Second crashes after *first*, in the redelivery, which has *points*; without that after its last line."""
    deaths = (one for one in planned(points, mode, is_redelivered=True) if one.dies_at is not None)
    return [replace(first, then=one) for one in deaths]


def overlapping(points: Sequence[Point], mode: str) -> list[Schedule]:
    """A second delivery while the first one waits before each thing that it does; of a loop only before the first."""
    first: dict[object, int] = {}
    for index, point in enumerate(points):
        first.setdefault(point.shape if mode == "sampled" else index, index)
    return [Schedule((index, "overlap")) for index in first.values()]
