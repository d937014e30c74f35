"""Who has the key of a unique task, and whether that task still counts.

The keys are those of `mirepoix.ledger.keys`. A key is not freed when its task ends: the next sender locks it, looks at
the task that has it, and takes the key over if that task no longer counts. So no process can die and leave a lock
behind, and nothing that ends a task has to know of keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirepoix.ledger import enqueue
from mirepoix.ledger.keys import Call
from mirepoix.ledger.rows import batches
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope
from mirepoix.states import State

MARK = " unique "
"""Keys of unique tasks begin with it. No key of `submit_once` begins with a space."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The task that has the key, how far it is, and for how many seconds, by the ledger's clock. None: not yet."""

    task_id: str
    state: State | None
    """None: the task is not in the ledger. It was pruned, or never sent."""
    sent_for_s: float | None = None
    started_for_s: float | None = None
    ended_for_s: float | None = None


def claim(tx: Tx, key: str, call: Call, task_id: str, *, holds_waiting: bool) -> Holder | None:
    """Claim the key for *task_id* if it is free, and return None. Otherwise lock it and return who has it.

    It waits for an open transaction that has claimed or locked the key. With *holds_waiting* no worker takes a holder
    that waits before this transaction ends.
    """
    tx.run("claim_key", key=key, task_id=task_id, task_name=call.name, call_hash="", shape=call.shape)
    (row,) = tx.fetch("lock_key", key=key)
    if row.task_id == task_id:
        return None
    if holds_waiting and tx.fetch("hold_waiting", task_id=row.task_id):
        if tx.dialect == "postgresql":
            tx.fetch("wake")  # a worker that saw the task locked has passed it over
        return Holder(row.task_id, State.PENDING, sent_for_s=progress(tx, row.task_id).sent_for_s)
    return progress(tx, row.task_id)


def take_over(tx: Tx, key: str, task_id: str) -> None:
    """Give a key that this transaction has locked to *task_id*."""
    tx.run("take_over_key", key=key, task_id=task_id)


def replace(tx: Tx, envelope: Envelope) -> bool:
    """Replace the call of a task that waits by *envelope*, which has its id. False if it does not wait any more."""
    (rows,) = batches(enqueue.as_row(timed) for timed in enqueue.timed(tx, [envelope]))
    return bool(tx.fetch("replace_waiting", rows=rows))


def progress(tx: Tx, task_id: str) -> Holder:
    """Return how far the task is that has a key."""
    rows = tx.fetch("progress_of_task", task_id=task_id)
    if not rows:
        return Holder(task_id, None)
    (row,) = rows
    return Holder(
        task_id, State(row.state), _seconds(row.sent_for_s), _seconds(row.started_for_s), _seconds(row.ended_for_s)
    )


def _seconds(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
