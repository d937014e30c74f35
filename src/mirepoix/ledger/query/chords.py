"""Read the chords that wait, and for which of their members.

No index leads from a chord to its members. Those that have returned are its parts, and those that have not are found
among the tasks that have not ended. A member that is a chain is found when its last task is sent: only that task has
the chord's id. So some members may not be found; their number is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirepoix.ledger.query.tasks import Filters, TaskLine, search
from mirepoix.ledger.query.values import known_moment, moment, seconds
from mirepoix.ledger.tx import Tx
from mirepoix.states import State

KEPT = frozenset({State.PARKED, State.QUARANTINED})
"""A member in one of these states holds its chord up until a person decides. A member that failed does not."""

UNRETURNED = KEPT | {State.PENDING, State.LEASED, State.RUNNING}
"""The states of members that have not returned."""


@dataclass(frozen=True, slots=True)
class WaitingChord:
    """A chord that waits: *done* of *size* members have returned."""

    group_id: str
    size: int
    done: int
    created_at: datetime
    waits_s: float


@dataclass(frozen=True, slots=True)
class ChordSeen:
    """A chord of any state: ``waiting``, ``fired`` or ``failed``."""

    group_id: str
    state: str
    size: int
    done: int
    created_at: datetime
    ended_at: datetime | None
    waits_s: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A member that has returned. *name* and *state* are None if its task was pruned."""

    task_id: str
    status: str
    name: str | None
    state: State | None


def waiting(tx: Tx, most: int) -> list[WaitingChord]:
    """Return the chords that wait, the oldest first."""
    return [
        WaitingChord(row.group_id, row.size, row.done, known_moment(row.created_at), seconds(row.waits_s) or 0.0)
        for row in tx.fetch("waiting_chords", most=most)
    ]


def chord(tx: Tx, group_id: str) -> ChordSeen | None:
    """Return one chord, or None if there is none of that id, or it was pruned."""
    rows = tx.fetch("chord_of_group", group_id=group_id)
    if not rows:
        return None
    (row,) = rows
    return ChordSeen(
        row.group_id, row.state, row.size, row.done, known_moment(row.created_at), moment(row.ended_at),
        seconds(row.waits_s) or 0.0,
    )  # fmt: skip


def unreturned(
    tx: Tx, group_ids: Sequence[str], most: int, states: Iterable[State] = UNRETURNED
) -> dict[str, list[TaskLine]]:
    """Return the members that have not returned, by their chords, the oldest first."""
    found: dict[str, list[TaskLine]] = {}
    if group_ids:
        filters = Filters(states=frozenset(states), members_of=tuple(group_ids))
        for line in search(tx, filters, most, oldest_first=True):
            found.setdefault(line.group_id or "", []).append(line)
    return found


def returned(tx: Tx, group_id: str, most: int) -> list[Returned]:
    """Return the members that have returned, while the chord waits. Later their list is dropped."""
    return [
        Returned(row.task_id, row.status, row.name, None if row.state is None else State(row.state))
        for row in tx.fetch("returned_members", group_id=group_id, most=most)
    ]
