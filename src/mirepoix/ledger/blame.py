"""Judge which task a worker's death is blamed on, by what is known of that death: at most one, and only on evidence.

A worker that was to stop, that was silent (frozen, or cut off), or whose host was started again says nothing about its
tasks. One that died by itself, *hard*, was killed by one of those that it held, or by nobody: all of them are suspects.
A worker takes one suspect at a time. So if another worker dies of it, it was alone there, or the only suspect: that
death is its own. The others are suspects from then on, and the culprit is found however many it takes down at first.
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
"""So many of those that ran beside a task are named in its history."""

_NOBODY = {
    "stopping": "after it was asked to stop, so nobody is blamed",
    "silent": "as it was frozen or cut off, so nobody is blamed",
    "rebooted": "with its host, so nobody is blamed",
    None: "nobody knows how, so nobody is blamed",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker held that is not alive."""

    lease: Lease
    name: str
    is_running: bool
    is_suspect: bool
    death: str | None
    """How its worker died: ``hard``, ``stopping``, ``silent``, ``rebooted``; None: it stopped, or that is not known."""
    reason: str | None
    """By what its death was seen."""


class Judgement(NamedTuple):
    """Whether a worker's death is blamed on a task, with the evidence in words."""

    is_blamed: bool
    words: str


def held_by_dead_workers(tx: Tx) -> list[Held]:
    """What is held by workers that are not alive, one worker's together."""
    return [_held(row) for row in tx.fetch("held_by_dead_workers")]


def judge(held: Sequence[Held]) -> dict[str, Judgement]:
    """Of each task, by its id, whether it is blamed."""
    return {
        one.lease.task_id: _judged(one, beside)
        for _, group in groupby(held, key=lambda one: one.lease.worker_id)
        for beside in [list(group)]
        for one in beside
    }


def _judged(one: Held, together: list[Held]) -> Judgement:
    seen = f"{one.reason or 'it stopped'}, {{}}".format
    others = [other for other in together if other is not one]
    if one.death != "hard":
        return Judgement(is_blamed=False, words=seen(_NOBODY.get(one.death, _NOBODY[None])) + _beside(others))
    is_only_suspect = one.is_suspect and not any(other.is_suspect for other in others)
    if others and not is_only_suspect:
        return Judgement(is_blamed=False, words=seen("and this task is one of the suspects") + _beside(others))
    how = "no other suspect was beside it" if others else "it was alone"
    if not one.is_running:
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
