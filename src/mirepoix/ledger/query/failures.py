"""Read the failure groups: list all of them, or show everything about one group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mirepoix.ledger.query.values import known_moment, moment, seconds
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row
from mirepoix.states import State


class GroupStatus(StrEnum):
    """The status of a group, from its failures and from decisions."""

    REGRESSED = "regressed"  # it failed again after it was resolved
    OPEN = "open"
    IGNORED = "ignored"
    RESOLVED = "resolved"


LISTED = frozenset({GroupStatus.REGRESSED, GroupStatus.OPEN})
"""The groups that need a decision."""

BUSY_S = 3600.0
"""A group that failed within so long counts as still failing."""


@dataclass(frozen=True, slots=True)
class Group:
    """One cause. ``kept`` tasks failed for good and need a decision; ``waiting`` tasks wait or run after a failure."""

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
    """The tasks of a group with one name and state."""

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
    """One replay of a group. ``outcome`` is None while it runs, and stays None if its process died."""

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
    """Return the groups with ids that begin so, the most urgent first.

    The groups that need a decision come first. Among them come first those that failed within the hour, sorted by
    their tasks, and then the others, the latest first.
    """
    found = [_group(row) for row in tx.fetch("failure_groups", beginning=beginning, letters=len(beginning))]
    return sorted(found, key=_urgency)


def group_detail(tx: Tx, group: Group) -> GroupDetail:
    """Return everything about *group*."""
    latest = tx.fetch("latest_failure", task_id=group.last_task_id, failure_group=group.id)
    return GroupDetail(
        group,
        tuple(
            TasksOf(row.name, State(row.state), row.tasks)
            for row in tx.fetch("tasks_of_failure_group", failure_group=group.id)
        ),
        _latest(group.last_task_id or "", latest[0]) if latest else None,
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


def _latest(task_id: str, row: Row) -> LatestFailure:
    return LatestFailure(**{**row.as_dict(), "task_id": task_id, "finished_at": known_moment(row.finished_at)})


def _replay(row: Row) -> ReplayLine:
    return ReplayLine(
        **{**row.as_dict(), "began_at": known_moment(row.began_at), "ended_at": moment(row.ended_at)},
    )


def _group(row: Row) -> Group:
    status, decided_at, regressed_at = GroupStatus(row.state), moment(row.decided_at), moment(row.regressed_at)
    until_s = seconds(row.ignored_s)
    if status is GroupStatus.IGNORED and until_s is not None and until_s <= 0:
        status = GroupStatus.OPEN
    if status is GroupStatus.OPEN and regressed_at and (decided_at is None or regressed_at >= decided_at):
        status = GroupStatus.REGRESSED
    return Group(
        id=row.id,
        title=row.title,
        name=row.name,
        status=status,
        failures=row.failures,
        last_hour=row.last_hour,
        kept=row.kept,
        waiting=row.waiting,
        first_seen_at=known_moment(row.first_seen_at),
        last_seen_at=known_moment(row.last_seen_at),
        first_seen_s=seconds(row.first_seen_s) or 0.0,
        last_seen_s=seconds(row.last_seen_s) or 0.0,
        first_release=row.first_release,
        last_release=row.last_release,
        last_task_id=row.last_task_id,
        regressions=row.regressions,
        regressed_at=regressed_at,
        regressed_in=row.regressed_in,
        decided_at=decided_at,
        decided_by=row.decided_by,
        note=row.note,
        resolved_in=row.resolved_in,
        ignored_until=moment(row.ignored_until),
        ignored_to=row.ignored_to,
        ignored_per_hour=row.ignored_per_hour,
    )
