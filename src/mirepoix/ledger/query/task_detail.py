"""Read everything about one task: its facts, every attempt and step, its parent and the tasks that it sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mirepoix.ledger.edit import Written
from mirepoix.ledger.query.values import arguments, due, known_moment, moment, seconds
from mirepoix.ledger.tx import Tx
from mirepoix.signatures.call_codec import Call, from_text
from mirepoix.sql.columns import Row
from mirepoix.states import AttemptOutcome, State

MOST_CHILDREN = 100
"""The most child tasks that are listed."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A parent, root or child of the task. ``state`` is None if it was pruned or never was in the ledger."""

    id: str
    name: str | None = None
    queue: str | None = None
    state: State | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One execution.

    ``outcome`` is a state (also if the attempt runs), ``retried``, ``returned``, ``rejected``, ``rolled back``,
    ``killed`` or ``lost``.
    """

    fence: int
    generation: int
    outcome: str
    worker_id: str | None
    worker: str | None
    pid: int | None
    leased_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    run_time_s: float | None
    peak_memory_kb: int | None
    error_type: str | None
    error: str | None
    traceback: str | None
    signal: int | None
    exit_code: int | None

    @property
    def has_begun(self) -> bool | None:
        """Whether user code began. None: unknown, because a start is recorded some moments later."""
        if self.started_at is not None or self.run_time_s is not None or self.outcome == AttemptOutcome.SUCCEEDED:
            return True
        is_revoked = self.outcome == AttemptOutcome.CANCELLED and (self.error or "").startswith("revoked")
        return False if is_revoked or self.outcome in (AttemptOutcome.PARKED, AttemptOutcome.EXPIRED) else None

    @property
    def beginning(self) -> str:
        """Words about its beginning, if its times do not show it."""
        if self.has_begun or self.finished_at is None:
            return ""
        return "never started" if self.has_begun is False else "not known whether it began"


@dataclass(frozen=True, slots=True)
class StepLine:
    """A finished step, and the attempt that did it. ``result`` is JSON, or None if it was not asked for."""

    name: str
    fence: int
    done_at: datetime
    run_time_s: float | None
    result: str | None


@dataclass(frozen=True, slots=True)
class ChordLine:
    """A chord's state: ``waiting`` while *done* of *size* members have returned, then ``fired`` or ``failed``."""

    state: str
    done: int
    size: int


@dataclass(frozen=True, slots=True)
class EditLine:
    """A person's change of the payload."""

    edited_at: datetime
    edited_by: str
    reason: str
    before: Written
    after: Written


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A decision: ``retry``, ``requeue``, ``cancel``, ``discard``, ``replay`` or ``undo``; or a look, ``stack``."""

    decided_at: datetime
    verb: str
    decided_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """Everything that the ledger has about one task.

    ``key`` is that of `mirepoix.submit_once`. ``calls`` are the calls in its payload: its own first, then those that it
    sends when it ends. It is empty if they were not recorded.
    """

    id: str
    name: str
    key: str | None
    queue: str
    priority: int
    state: State
    reason: str | None
    generation: int
    fence: int
    retries: int
    deaths: int
    handovers: int
    group_id: str | None
    chord: ChordLine | None
    held_by: str | None
    """What is paused and holds it, such as ``task shop.pay``; None if nothing does."""
    created_at: datetime
    eta: datetime | None
    due_at: datetime | None
    expires_at: datetime | None
    leased_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    run_time_s: float | None
    peak_memory_kb: int | None
    worker_id: str | None
    worker: str | None
    worker_state: str | None
    pid: int | None
    content_type: str
    arguments: tuple[list[Any], dict[str, Any]] | None
    headers: dict[str, Any]
    version: int
    calls: tuple[Call, ...]
    parked_for: str | None
    due_in_s: float | None
    running_for_s: float | None
    parent: Relative | None
    root: Relative | None
    attempts: tuple[AttemptLine, ...]
    steps: tuple[StepLine, ...]
    edits: tuple[EditLine, ...]
    decisions: tuple[DecisionLine, ...]
    children: tuple[Relative, ...]


def task_detail(tx: Tx, task_id: str, *, has_results: bool = False) -> TaskDetail | None:
    """Return the detail of the task with exactly that id, or None. It has at most `MOST_CHILDREN` children.

    The results of its steps are included only with *has_results*, because they may contain secrets.
    """
    rows = tx.fetch("detail_of_task", task_id=task_id)
    if not rows:
        return None
    (row,) = rows
    state = State(row.state)
    is_held = state is State.PENDING and row.due_at is not None and due(row.due_at) is None
    return TaskDetail(
        id=row.id,
        name=row.name,
        key=row.submitted_as,
        queue=row.queue,
        priority=row.priority,
        state=state,
        reason=row.reason,
        generation=row.generation,
        fence=row.fence,
        retries=row.retries,
        deaths=row.deaths,
        handovers=row.handovers,
        root=_relative(tx, row.root_id) if row.root_id != row.id else None,
        parent=_relative(tx, row.parent_id),
        group_id=row.group_id,
        chord=_chord(tx, row.group_id),
        held_by=row.held_by if is_held else None,
        created_at=known_moment(row.created_at),
        eta=moment(row.eta),
        due_at=due(row.due_at),
        expires_at=moment(row.expires_at),
        leased_at=moment(row.leased_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        run_time_s=row.run_time_s,
        peak_memory_kb=row.peak_memory_kb,
        worker_id=row.worker_id,
        worker=row.worker,
        worker_state=row.worker_state,
        pid=row.pid,
        content_type=row.content_type,
        arguments=arguments(row.content_type, row.body_encoding, row.body),
        headers=json.loads(row.headers),
        version=row.version,
        calls=() if row.shape is None else tuple(from_text(row.shape)),
        parked_for=row.parked_for,
        due_in_s=None if is_held else seconds(row.due_in_s),
        running_for_s=seconds(row.running_for_s) if state is State.RUNNING else None,
        attempts=tuple(_attempt(found) for found in tx.fetch("detail_of_attempts", task_id=task_id)),
        steps=tuple(_step(found, has_results) for found in tx.fetch("detail_of_steps", task_id=task_id)),
        edits=tuple(_edit(found) for found in tx.fetch("detail_of_edits", task_id=task_id)),
        decisions=tuple(
            DecisionLine(known_moment(found.decided_at), found.verb, found.decided_by, found.reason)
            for found in tx.fetch("detail_of_decisions", task_id=task_id)
        ),
        children=tuple(_named(found) for found in tx.fetch("detail_of_children", task_id=task_id, most=MOST_CHILDREN)),
    )


def _relative(tx: Tx, task_id: str | None) -> Relative | None:
    if task_id is None:
        return None
    rows = tx.fetch("detail_of_relative", task_id=task_id)
    return _named(rows[0]) if rows else Relative(task_id)


def _chord(tx: Tx, group_id: str | None) -> ChordLine | None:
    rows = tx.fetch("detail_of_chord", group_id=group_id) if group_id else []
    return ChordLine(**rows[0].as_dict()) if rows else None


def _named(row: Row) -> Relative:
    return Relative(row.id, name=row.name, queue=row.queue, state=State(row.state), created_at=moment(row.created_at))


def _step(row: Row, has_result: bool) -> StepLine:
    result = row.result if has_result else None
    return StepLine(**{**row.as_dict(), "done_at": known_moment(row.done_at), "result": result})


def _edit(row: Row) -> EditLine:
    before, after = (Written(**json.loads(text)) for text in (row.before_edit, row.after_edit))
    return EditLine(known_moment(row.edited_at), row.edited_by, row.reason, before, after)


def _attempt(row: Row) -> AttemptLine:
    moments = {name: moment(getattr(row, name)) for name in ("leased_at", "started_at", "finished_at")}
    return AttemptLine(**{**row.as_dict(), **moments})
