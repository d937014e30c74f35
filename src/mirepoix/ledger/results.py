"""Store the results of tasks by their ids, and the ids of saved groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirepoix.ledger.rows import batches
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease, Result, SavedGroup


@dataclass(frozen=True, slots=True)
class Known:
    """A stored result (``status`` is None if there is none), and the state of its task."""

    task_id: str
    status: str | None
    result: str | None
    content_type: str | None
    traceback: str | None
    meta: str | None
    task_state: str | None
    task_reason: str | None
    parked_s: float | None = None
    """How long the task has been parked for other code."""


def store(tx: Tx, results: Sequence[Result], *, is_outcome: bool = False, only_while: Lease | None = None) -> None:
    """Store *results*. Each replaces the result with its id, but only the outcome of an attempt replaces a success.

    With *only_while* nothing is written if that lease is lost.
    """
    if not results:
        return
    guard = (
        {}
        if only_while is None
        else {"guard_id": only_while.task_id, "fence": only_while.fence, "worker_id": only_while.worker_id}
    )
    rows = [
        {
            "task_id": result.task_id,
            "status": result.status,
            "result": storable(result.result),
            "content_type": result.content_type,
            "traceback": storable(result.traceback),
            "meta": storable(result.meta),
            "expires_s": result.expires_s,
            **guard,
        }
        for result in {result.task_id: result for result in results}.values()
    ]
    for batch in batches(rows):
        tx.run("store_results", rows=batch, is_outcome=int(is_outcome))


def find(tx: Tx, task_ids: Iterable[str]) -> list[Known]:
    """Return what the ledger has for each id, in any order."""
    return [Known(**row.as_dict()) for row in tx.fetch("results", ids=json.dumps(list(task_ids)))]


def forget(tx: Tx, task_id: str) -> None:
    """Delete the result with that id. The task stays in the ledger."""
    tx.run("forget_result", task_id=task_id)


def save_group(tx: Tx, group: SavedGroup) -> None:
    """Store the ids of a group's results."""
    tx.run("save_group", group_id=group.group_id, result=group.result, expires_s=group.expires_s)


def saved_group(tx: Tx, group_id: str) -> str | None:
    """Return what `save_group` stored, or None."""
    rows = tx.fetch("saved_group", group_id=group_id)
    return rows[0].result if rows else None


def forget_group(tx: Tx, group_id: str) -> None:
    """Delete a saved group."""
    tx.run("forget_group", group_id=group_id)


def prune(tx: Tx, batch: int = 5_000) -> int:
    """Delete up to *batch* expired results, and all expired groups; return how many results."""
    tx.run("prune_groups")
    return tx.run("prune_results", batch=batch)
