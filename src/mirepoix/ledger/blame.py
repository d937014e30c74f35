"""Judge which task is blamed for a worker's death: at most one, and only on evidence.

Some deaths say nothing about the tasks: the worker was asked to stop, it was silent (frozen, or cut off), or its host
was restarted. A worker that died by itself, *hard*, may have been killed by one of the tasks that it held, so all of
them become suspects. A worker takes one suspect at a time: if another worker dies, at most one suspect ran there, and
that suspect is blamed. The culprit is found even if it ran beside many other tasks at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease
from mirepoix.sql.columns import Row

NAMED = 3
"""The most tasks beside it that a task's history names."""

_NOBODY = {
    "stopping": "after it was asked to stop, so nobody is blamed",
    "silent": "because it was frozen or cut off, so nobody is blamed",
    "rebooted": "with its host, so nobody is blamed",
    None: "and nobody knows how, so nobody is blamed",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A task that a dead worker held."""

    lease: Lease
    name: str
    is_running: bool
    is_suspect: bool
    death: str | None
    """How its worker died: ``hard``, ``stopping``, ``silent``, ``rebooted``; None if it stopped or nobody knows."""
    reason: str | None
    """How its death was detected."""


class Judgement(NamedTuple):
    """Whether a task is blamed for its worker's death, with the evidence in words."""

    is_blamed: bool
    words: str


def held_by_dead_workers(tx: Tx) -> list[Held]:
    """Return the tasks that dead workers hold, sorted by worker."""
    return [_held(row) for row in tx.fetch("held_by_dead_workers")]


def judge(held: Sequence[Held]) -> dict[str, Judgement]:
    """Judge each task. Return the judgements by the tasks' ids."""
    return {
        task.lease.task_id: _judged(task, beside)
        for _, group in groupby(held, key=lambda task: task.lease.worker_id)
        for beside in [list(group)]
        for task in beside
    }


def _judged(task: Held, together: list[Held]) -> Judgement:
    seen = f"{task.reason or 'it stopped'}, {{}}".format
    others = [other for other in together if other is not task]
    if task.death != "hard":
        return Judgement(is_blamed=False, words=seen(_NOBODY.get(task.death, _NOBODY[None])) + _beside(others))
    is_only_suspect = task.is_suspect and not any(other.is_suspect for other in others)
    if others and not is_only_suspect:
        return Judgement(is_blamed=False, words=seen("and this task is one of the suspects") + _beside(others))
    how = "no other suspect was beside it" if others else "it was alone"
    if not task.is_running:
        return Judgement(is_blamed=False, words=seen(f"and {how}, but was not seen to start") + _beside(others))
    return Judgement(is_blamed=True, words=seen(f"and {how}") + _beside(others))


def _beside(others: list[Held]) -> str:
    if not others:
        return ""
    named = ", ".join(
        f"{other.name}[{other.lease.task_id}]{'' if other.is_running else ' (not seen to start)'}"
        for other in others[:NAMED]
    )
    more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
    return f"; beside it: {named}{more}"


def _held(row: Row) -> Held:
    return Held(
        lease=Lease(row.id, row.fence, row.worker_id),
        name=row.name,
        is_running=row.state == "running",
        is_suspect=bool(row.is_suspect),
        death=row.death,
        reason=row.reason,
    )
