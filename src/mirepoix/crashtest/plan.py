"""Plan the crashes that are tried."""

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
    """A planned crash at a point, or (None) a run to the end that is not acknowledged."""

    dies_at: Place | None
    then: Schedule | None = None
    """The crash of the redelivery. If it is None, the redelivery runs to its end."""

    @property
    def deaths(self) -> tuple[Place | None, ...]:
        """The places of the crashes, in the order of the deliveries."""
        return (self.dies_at, *(self.then.deaths if self.then is not None else ()))

    @property
    def is_overlap(self) -> bool:
        """Whether two deliveries run at once, instead of a crash."""
        return self.dies_at is not None and self.dies_at[1] == "overlap"

    def __str__(self) -> str:
        """Return the form that ``at=`` takes: ``3:before``, ``end``, ``3:before,1:before``."""
        return ",".join("end" if place is None else f"{place[0] + 1}:{place[1]}" for place in self.deaths)


def scheduled(at: str) -> Schedule | None:
    """Parse the form that ``str()`` writes. Returns None if *at* has another form."""
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
    """Return the schedules of *mode*. The run that is delivered twice comes first: it is cheapest and finds most."""
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
    if not is_redelivered:  # a crash before the first action loses all of it
        after = [-1, *after]
    # An action may become durable only when the next one begins: SQLite has not committed an INSERT..RETURNING when
    # execute() returns.
    return [Schedule(None), *(Schedule((index + 1, "before")) for index in after)]


def planned_again(first: Schedule, points: Sequence[Point], mode: str) -> list[Schedule]:
    """Plan second crashes in the redelivery after *first*, which has *points*, without the one after its last line."""
    deaths = (schedule for schedule in planned(points, mode, is_redelivered=True) if schedule.dies_at is not None)
    return [replace(first, then=schedule) for schedule in deaths]


def overlapping(points: Sequence[Point], mode: str) -> list[Schedule]:
    """Plan a second delivery while the first one waits before each of its actions; in a loop, only before the first."""
    first: dict[object, int] = {}
    for index, point in enumerate(points):
        first.setdefault(point.shape if mode == "sampled" else index, index)
    return [Schedule((index, "overlap")) for index in first.values()]
