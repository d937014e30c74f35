"""Account for every task in the ledger: it has ended, waits for a decision, waits for a worker, or is with a worker."""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger.query.health import stranded
from mirepoix.ledger.tx import Tx
from mirepoix.states import ATTENTION, HELD, WAITING, State


@dataclass(frozen=True, slots=True)
class Account:
    """The tasks in the ledger: ``sent`` is the sum. ``stranded`` counts the ``held`` tasks of dead workers."""

    sent: int
    ended: int
    kept: int
    waiting: int
    held: int
    stranded: int

    @property
    def unaccounted(self) -> int:
        """The number of tasks that nobody looks after, or that are in none of the states."""
        return self.sent - self.ended - self.kept - self.waiting - self.held + self.stranded


def account(tx: Tx) -> Account:
    """Count every task by its state. It reads the whole table. Pruned tasks are not counted."""
    counts = {State(row.state): row.tasks for row in tx.fetch("tasks_by_state")}
    lost = sum(group.count for group in stranded(tx))

    def among(states: frozenset[State]) -> int:
        return sum(number for state, number in counts.items() if state in states)

    kept, waiting, held = among(ATTENTION), among(WAITING), among(HELD)
    ended = among(frozenset({State.SUCCEEDED, State.CANCELLED, State.EXPIRED}))
    return Account(sum(counts.values()), ended, kept, waiting, held, lost)
