"""Change what tasks call, and record with each who did it and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mirepoix.ledger import operate
from mirepoix.ledger.edit import EDITABLE, Edited, Payload, Seen, look
from mirepoix.ledger.edit import edit as write
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.operations.batches import Report, carry_out
from mirepoix.operations.decisions import Decision
from mirepoix.states import State

WHY_NOT = {
    State.LEASED: "a worker has taken it",
    State.RUNNING: "a worker is running it",
    State.SUCCEEDED: "it succeeded: send a new task",
    State.CANCELLED: "it is cancelled: requeue it first",
    State.EXPIRED: "it has expired: requeue it first",
}

Rewrite = Callable[[Payload], Edited | str]
"""Returns the new payload for an old payload, or why there is none."""


@dataclass(slots=True)
class Editing:
    """One change of many tasks. *made* and *refused* have the result for each, even if it was not committed."""

    rewrite: Rewrite
    by: str
    is_requeued: bool = False
    made: dict[str, Edited] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """The edit as a decision about tasks."""
        return Decision("edit", "edited", frozenset({State.PENDING, State.PARKED}), self._act, WHY_NOT)

    def carry_out(self, connection: Connection, task_ids: Sequence[str], reason: str, report: Report) -> None:
        """Edit the tasks in batches and fill *report*."""
        try:
            carry_out(connection, self.decision, task_ids, reason, report)
        finally:
            self._explain(report)

    def try_out(self, tx: Tx, task_ids: Iterable[str], report: Report) -> None:
        """Fill *report* with what `carry_out` would do. Changes nothing."""
        for task_id in task_ids:
            planned = self._plan(tx, task_id)
            if planned is not None:
                runs = self.is_requeued and planned[0].state is not State.PENDING
                report.done[task_id] = "would be edited and requeued" if runs else "would be edited"
                continue
            found = look(tx, task_id)
            state = None if found is None else found.state
            why = "the ledger has no such task" if state is None else WHY_NOT.get(state, "it cannot be edited")
            report.not_done[task_id] = (state, why)
        self._explain(report)

    def _act(self, tx: Tx, seen: Iterable[str], reason: str) -> dict[str, str]:
        done: dict[str, str] = {}
        to_run = []
        for task_id in seen:
            planned = self._plan(tx, task_id)
            if planned is None:
                continue
            found, new = planned
            if write(tx, found, new, self.by, reason):
                done[task_id] = "edited"
                if found.state is not State.PENDING:
                    to_run.append(task_id)
        if self.is_requeued:
            requeued = operate.requeue(tx, to_run, reason)
            operate.note(tx, requeued, "requeue", self.by, reason)
            done |= dict.fromkeys(requeued, "edited and requeued")
        return done

    def _plan(self, tx: Tx, task_id: str) -> tuple[Seen, Edited] | None:
        """Return the task and its new payload, or None if its state forbids the edit or the edit is refused."""
        found = look(tx, task_id)
        if found is None or found.state not in EDITABLE:
            return None
        new = self.rewrite(found.payload)
        if isinstance(new, str):
            self.refused[task_id] = new
            return None
        self.made[task_id] = new
        return found, new

    def _explain(self, report: Report) -> None:
        """Replace the general reason of each refused task by its own."""
        for task_id in report.not_done.keys() & self.refused.keys():
            report.not_done[task_id] = (report.not_done[task_id][0], self.refused[task_id])
