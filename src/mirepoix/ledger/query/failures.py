"""Failure groups as people ask for them: which causes there are, and everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mirepoix.ledger.query.values import known_moment, moment, seconds
from mirepoix.ledger.tx import Tx
from mirepoix.states import State


class GroupStatus(StrEnum):
    """What is known of a cause, and was decided."""

    REGRESSED = "regressed"  # it failed again after it was resolved
    OPEN = "open"
    IGNORED = "ignored"
    RESOLVED = "resolved"


LISTED = frozenset({GroupStatus.REGRESSED, GroupStatus.OPEN})
"""What asks for somebody."""

BUSY_S = 3600.0
"""What failed within so long is going on."""


@dataclass(frozen=True, slots=True)
class Group:
    """One cause. ``kept`` tasks failed by it and need someone; ``waiting`` ones are, or will be, tried again."""

    id: str
    title: str
    name: str
    status: GroupStatus
    failures: int
    last_hour: int
    kept: int
    waiting: int
    first_seen_at: datetime
    last_seen_at: datetime
    first_seen_s: float
    last_seen_s: float
    first_release: str | None
    last_release: str | None
    last_task_id: str | None
    regressions: int
    regressed_at: datetime | None
    regressed_in: str | None
    decided_at: datetime | None
    decided_by: str | None
    note: str | None
    resolved_in: str | None
    ignored_until: datetime | None
    ignored_to: int | None
    ignored_per_hour: int | None


@dataclass(frozen=True, slots=True)
class TasksOf:
    """The tasks of one name and state that a group has."""

    name: str
    state: State
    count: int


@dataclass(frozen=True, slots=True)
class LatestFailure:
    """The attempt that failed last by the cause."""

    task_id: str
    fence: int
    outcome: str
    finished_at: datetime
    error_type: str | None
    error: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class ReplayLine:
    """One replay of a group. ``outcome`` is None while it is under way, and for good if its process died."""

    id: str
    began_at: datetime
    began_by: str
    reason: str
    tasks: int
    canaries: int
    rate_per_s: float
    ended_at: datetime | None
    outcome: str | None
    replayed: int
    undone: int


@dataclass(frozen=True, slots=True)
class GroupDetail:
    """Everything about one group."""

    group: Group
    tasks: tuple[TasksOf, ...]
    latest: LatestFailure | None
    replays: tuple[ReplayLine, ...]


def groups(tx: Tx, beginning: str = "") -> list[Group]:
    """The groups whose id begins so, in the order in which somebody should look at them.

    First what asks for somebody; of that what failed within the hour, by the tasks that hang on it; then the latest.
    """
    found = [_group(row) for row in tx.fetch("failure_groups", beginning=beginning, letters=len(beginning))]
    return sorted(found, key=_urgency)


def group_detail(tx: Tx, group: Group) -> GroupDetail:
    """Everything about *group*."""
    latest = tx.fetch("latest_failure", task_id=group.last_task_id, failure_group=group.id)
    return GroupDetail(
        group,
        tuple(
            TasksOf(name, State(state), number)
            for name, state, number, _ in tx.fetch("tasks_of_failure_group", failure_group=group.id)
        ),
        LatestFailure(group.last_task_id or "", latest[0][0], latest[0][1], known_moment(latest[0][2]), *latest[0][3:])
        if latest
        else None,
        tuple(_replay(row) for row in tx.fetch("replays", failure_group=group.id)),
    )


def _urgency(group: Group) -> tuple[int, bool, int, float]:
    is_listed = group.status in LISTED
    is_busy = is_listed and group.last_seen_s < BUSY_S
    return (
        0 if is_listed else 1,
        not is_busy,
        -(group.kept + group.waiting) if is_busy else 0,
        group.last_seen_s,
    )


def _replay(row: tuple[Any, ...]) -> ReplayLine:
    return ReplayLine(
        id=row[0],
        began_at=known_moment(row[1]),
        began_by=row[2],
        reason=row[3],
        tasks=row[4],
        canaries=row[5],
        rate_per_s=row[6],
        ended_at=moment(row[7]),
        outcome=row[8],
        replayed=row[9],
        undone=row[10],
    )


def _group(row: tuple[Any, ...]) -> Group:
    status, decided_at, regressed_at = GroupStatus(row[3]), moment(row[11]), moment(row[18])
    until_s = seconds(row[23])
    if status is GroupStatus.IGNORED and until_s is not None and until_s <= 0:
        status = GroupStatus.OPEN
    if status is GroupStatus.OPEN and regressed_at and (decided_at is None or regressed_at >= decided_at):
        status = GroupStatus.REGRESSED
    return Group(
        id=row[0],
        title=row[1],
        name=row[2],
        status=status,
        failures=row[4],
        last_hour=row[10],
        kept=row[24],
        waiting=row[25],
        first_seen_at=known_moment(row[5]),
        last_seen_at=known_moment(row[6]),
        first_seen_s=seconds(row[21]) or 0.0,
        last_seen_s=seconds(row[22]) or 0.0,
        first_release=row[7],
        last_release=row[8],
        last_task_id=row[9],
        regressions=row[20],
        regressed_at=regressed_at,
        regressed_in=row[19],
        decided_at=decided_at,
        decided_by=row[12],
        note=row[13],
        resolved_in=row[14],
        ignored_until=moment(row[15]),
        ignored_to=row[16],
        ignored_per_hour=row[17],
    )
