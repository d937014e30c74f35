"""Carry out a decision about many tasks in batches, and report what was done, and why the rest was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.ledger import operate
from mirepoix.ledger.query.tasks import Version, states_of, versions_of
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.operations.decisions import Decision
from mirepoix.states import HELD, State

CHANGED = "it has changed since you looked; look at it again"

BATCH = 500
"""The most tasks in one transaction, so that no worker waits long for it."""


@dataclass(slots=True)
class Report:
    """The result for each id so far. A batch is added after its commit."""

    done: dict[str, str] = field(default_factory=dict)
    not_done: dict[str, tuple[State | None, str]] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    advanced: Callable[[int], None] = field(default=lambda _: None, repr=False)
    """Called after each commit with the number of ids that are dealt with."""


@contextmanager
def deciding(connection: Connection) -> Iterator[Tx]:
    """Open a transaction of an operator. It commits at the end of the block."""
    with connection.transaction() as tx:
        yield tx
        reached(Crashpoint.OPERATE_BEFORE_COMMIT)
    reached(Crashpoint.OPERATE_AFTER_COMMIT)


def carry_out(
    connection: Connection,
    decision: Decision,
    task_ids: Sequence[str],
    reason: str,
    report: Report,
    return_ended: Callable[[Tx, Iterable[str], str], None] | None = None,
    *,
    by: str | None = None,
    expected: Mapping[str, Version] | None = None,
) -> None:
    """Carry out *decision* batch by batch and fill *report*. Ctrl-C stops it after a committed batch.

    If *by* is given, it and *reason* are recorded with each task that was changed. *return_ended* returns tasks that
    were ended to their chords. Both happen in the transaction that changes the tasks. With *expected*, a task that is
    not as it was then is left alone.
    """
    try:
        for start in range(0, len(task_ids), BATCH):
            batch = task_ids[start : start + BATCH]
            with deciding(connection) as tx:
                changed = _changed(tx, batch, expected) if expected is not None else frozenset()
                seen = states_of(tx, [task_id for task_id in batch if task_id not in changed])
                done = decision.act(tx, seen, reason)
                if by is not None:
                    operate.note(tx, done, decision.verb, by, reason)
                if return_ended is not None:
                    return_ended(tx, done, reason)
                # Read the refused tasks again: they may have changed since.
                refused = states_of(tx, [task_id for task_id in batch if task_id not in done])
            report.done |= done
            for task_id in batch:
                if task_id in changed and task_id in refused:
                    state, _ = refused[task_id]
                    report.not_done[task_id] = (state, decision.why_not.get(state, CHANGED))
                elif task_id not in done:
                    _note_refusal(report, decision, task_id, refused.get(task_id))
            report.advanced(start + len(batch))
    except KeyboardInterrupt:
        report.is_interrupted = True


def _changed(tx: Tx, batch: Sequence[str], expected: Mapping[str, Version]) -> frozenset[str]:
    now = versions_of(tx, batch, is_locking=True)
    return frozenset(task_id for task_id in batch if now.get(task_id) != expected.get(task_id))


def _note_refusal(report: Report, decision: Decision, task_id: str, now: tuple[State, bool] | None) -> None:
    if now is None:
        report.not_done[task_id] = (None, "the ledger has no such task")
        return
    state, _ = now
    if state in HELD:
        report.held.append(task_id)
    why = decision.why_not.get(state, "it changed at the same moment; try again")
    report.not_done[task_id] = (state, why)


def grouped(by_id: Mapping[str, str]) -> dict[str, list[str]]:
    """Group the ids by their results."""
    groups: dict[str, list[str]] = {}
    for task_id, word in by_id.items():
        groups.setdefault(word, []).append(task_id)
    return groups
