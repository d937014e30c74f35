"""Run the failed tasks of a cause again: each task once in a replay. Undo it as long as no worker has the task."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from mirepoix.ledger import operate
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row
from mirepoix.states import HELD, State

MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Chosen:
    """A failed task to replay, and its last attempt. A task with a later attempt is not replayed."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """A task that was run again, and its state now. ``is_trying`` says that Celery retries it after a failure."""

    task_id: str
    state: State
    is_untouched: bool
    is_trying: bool
    is_undone: bool

    @property
    def is_over(self) -> bool:
        """Whether its outcome is known: it has ended, or asked for a retry."""
        return self.is_trying or not (self.state is State.PENDING or self.state in HELD)


def choose(tx: Tx, group_id: str, limit: int | None = None) -> list[Chosen]:
    """Return the failed and quarantined tasks of the group, the oldest first, at most *limit*."""
    return [
        Chosen(row.task_id, row.fence) for row in tx.fetch("replayable", failure_group=group_id, most=limit or MOST)
    ]


def begin(tx: Tx, group_id: str, by: str, reason: str, *, tasks: int, canaries: int, rate_per_s: float) -> str:
    """Record that a replay begins; return its id, which `take_back` needs."""
    replay_id = secrets.token_hex(4)
    tx.run(
        "begin_replay",
        id=replay_id,
        failure_group=group_id,
        began_by=by,
        reason=reason,
        tasks=tasks,
        canaries=canaries,
        rate_per_s=rate_per_s,
    )
    return replay_id


def run_again(tx: Tx, replay_id: str, chosen: Sequence[Chosen], reason: str, by: str) -> list[str]:
    """Requeue the tasks that have not changed since they were chosen; return their ids. The replay must have begun."""
    noted = [
        task.task_id
        for task in chosen
        if tx.run("note_replayed", replay_id=replay_id, task_id=task.task_id, fence=task.fence)
    ]
    done = operate.requeue(tx, noted, reason)
    operate.note(tx, done, "replay", by, f"{reason} (replay {replay_id})")
    return done


def end(tx: Tx, replay_id: str, outcome: str) -> None:
    """Record how the replay ended."""
    tx.run("end_replay", id=replay_id, outcome=outcome)


def progress(tx: Tx, replay_id: str) -> list[Replayed]:
    """Return the state of each task of the replay that has not been pruned."""
    return [_seen(row) for row in tx.fetch("replayed", replay_id=replay_id)]


def take_back(tx: Tx, replay_id: str, most: int) -> list[str]:
    """Restore up to *most* replayed tasks that no worker has taken; return their ids.

    Their stored results are restored too. Their attempts were never deleted.
    """
    taken_back: list[str] = []
    for row in tx.fetch("replayed", replay_id=replay_id):
        if len(taken_back) == most:
            break
        if not _seen(row).is_untouched:
            continue
        done = tx.fetch(
            "take_back" if row.state == State.FAILED else "take_back_quarantined",
            task_id=row.task_id,
            fence=row.fence,
            generation=row.generation,
            reason=row.reason,
            finished_at=row.finished_at,
            expires_at=row.expires_at,
            retries=row.retries,
            deaths=row.deaths,
            handovers=row.handovers,
        )
        if done:
            tx.run("restore_result", replay_id=replay_id, task_id=row.task_id)
            tx.run("note_undone", replay_id=replay_id, task_id=row.task_id)
            taken_back.append(row.task_id)
    return taken_back


def _seen(row: Row) -> Replayed:
    state = State(row.state_now)
    is_waiting = state is State.PENDING and row.undone_at is None
    return Replayed(
        row.task_id,
        state,
        is_untouched=is_waiting and row.leases == 0 and row.messages == 1,
        is_trying=is_waiting and row.leases > 0 and row.messages > 1 and row.retries_now > 0,
        is_undone=row.undone_at is not None,
    )
