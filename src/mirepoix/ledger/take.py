"""Take leases on waiting tasks, in batches. A worker gets its tasks by no other way."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease, Taken
from mirepoix.sql.columns import Row

AGREEING = timedelta(seconds=1)
"""Two clocks that differ by less count as equal."""


def take(tx: Tx, worker_id: str, queues: Sequence[str], batch: int, *, may_be_suspect: bool = True) -> list[Taken]:
    """Lease up to *batch* tasks of *queues* for the worker, in the order in which they should run.

    The queues take turns, and the first of *queues* begins. Within a queue the highest priority comes first, then the
    oldest task. Every lease raises its task's fence by one. A worker that was declared dead gets an empty list.

    At most one task is a suspect (`mirepoix.ledger.blame`). Without *may_be_suspect* none is, because the worker holds
    one already.
    """
    return _take_of_queues(tx, "take", worker_id, queues, batch, may_be_suspect=may_be_suspect)


def take_returned(
    tx: Tx, worker_id: str, queues: Sequence[str], batch: int, *, may_be_suspect: bool = True
) -> list[Taken]:
    """As `take`, but lease only tasks that a worker had before: recovered, given back, retried or requeued ones.

    A worker with a broker takes these from the ledger. Their messages would wait at the end of the broker's queue.
    """
    return _take_of_queues(tx, "take_returned", worker_id, queues, batch, may_be_suspect=may_be_suspect)


def take_limited(
    tx: Tx, worker_id: str, rooms: Sequence[tuple[str, str, int]], *, may_be_suspect: bool = True
) -> list[Taken]:
    """Lease tasks with a limit: of each ``(queue, key, room)`` up to so many. The keys are different.

    The caller has locked the keys and counted their tasks since (`mirepoix.ledger.limits`).
    """
    if not rooms:
        return []
    listed = [{"queue": queue, "limit_key": key, "room": room} for queue, key, room in rooms]
    params = {"rows": json.dumps(listed), "worker_id": worker_id, "suspects": int(may_be_suspect)}
    if tx.dialect != "postgresql":
        params["most"] = max(room for _, _, room in rooms)
    if tx.dialect == "mysql":
        params["gates"] = json.dumps([f"w{queue}\n{key}" for queue, key, _ in rooms])
    rows = tx.fetch("take_limited", **params)
    keys = {row.id: row.limit_key for row in rows}
    taken = _timed(tx, [_taken(row, worker_id) for row in _in_turns(rows, [queue for queue, _, _ in rooms])])
    return [replace(task, limit_key=keys[task.lease.task_id]) for task in taken]


def has_returned(tx: Tx, queues: Sequence[str], *, may_be_suspect: bool = True) -> bool:
    """Return whether `take_returned` would find a task now."""
    return bool(tx.fetch("has_returned", queues=json.dumps(list(queues)), suspects=int(may_be_suspect)))


def take_by_id(tx: Tx, worker_id: str, task_ids: Sequence[str], *, may_be_suspect: bool = True) -> list[Taken]:
    """Lease the tasks of *task_ids* that are ready, in that order. The ids come from the broker's notifications.

    Tasks that are not ready (taken, finished, due later, unknown) are left out: see `readiness`. Suspects are left out
    without *may_be_suspect*. With it, ask for one task at a time.
    """
    if not task_ids:
        return []
    ids = json.dumps(sorted({*task_ids}))
    rows = tx.fetch("take_by_id", worker_id=worker_id, ids=ids, suspects=int(may_be_suspect))
    found = {task.lease.task_id: task for task in _timed(tx, [_taken(row, worker_id) for row in rows])}
    return [found[task_id] for task_id in dict.fromkeys(task_ids) if task_id in found]


def resume_parked(tx: Tx, worker_id: str, task_ids: Sequence[str]) -> list[Taken]:
    """Lease the tasks of *task_ids* that are parked for other code, because this worker's code can take them."""
    if not task_ids:
        return []
    rows = tx.fetch("resume_parked", worker_id=worker_id, ids=json.dumps(sorted({*task_ids})))
    return _timed(tx, [_taken(row, worker_id) for row in sorted(rows, key=lambda row: row.seq)])


def parked_shapes(tx: Tx) -> list[str]:
    """Return the shapes of the tasks that are parked for other code (`mirepoix.signatures.call_codec`), each once."""
    return [row.shape for row in tx.fetch("parked_shapes")]


def parked_of_shape(tx: Tx, shape: str, queues: Sequence[str], batch: int, but: Iterable[str] = ()) -> list[str]:
    """Return the ids of the oldest tasks that are parked for other code with that shape, except those in *but*."""
    return [
        row.id
        for row in tx.fetch(
            "parked_of_shape", shape=shape, queues=json.dumps(list(queues)), batch=batch, tried=json.dumps(list(but))
        )
    ]


def readiness(tx: Tx, task_ids: Iterable[str]) -> dict[str, bool]:
    """Return for each task that the ledger has whether it is ready to be taken."""
    return {row.id: bool(row.is_ready) for row in tx.fetch("readiness", ids=json.dumps(list(task_ids)))}


def next_due_s(tx: Tx) -> float | None:
    """Return the seconds until the next waiting task is due (0 or less: now), or None."""
    (row,) = tx.fetch("next_due")
    return None if row.due_in_s is None else float(row.due_in_s)


def release_due(tx: Tx) -> int:
    """Make the tasks ready that are due; return how many."""
    released = len(tx.fetch("release_due"))
    if released:
        tx.fetch("wake")
    return released


def start(tx: Tx, worker_id: str, attempts: Sequence[tuple[Lease, float, int | None]]) -> set[str]:
    """Record that user code runs, each as ``(lease, seconds since it began, process id)``. Returns the recorded ids."""
    rows = [
        {"id": lease.task_id, "fence": lease.fence, "age_s": round(age_s, 3), "pid": pid}
        for lease, age_s, pid in attempts
    ]
    return {row.id for row in tx.fetch("start", worker_id=worker_id, rows=json.dumps(rows))}


def _timed(tx: Tx, taken: list[Taken]) -> list[Taken]:
    """Return *taken* with each expiry by the clock of this host, which may differ from the ledger's.

    If the two clocks agree within a second, the expiry stays as the sender wrote it.
    """
    expiring = [task.lease.task_id for task in taken if isinstance(task.headers, dict) and task.headers.get("expires")]
    if not expiring:
        return taken
    now = datetime.now(UTC)
    left = {row.id: float(row.left_s) for row in tx.fetch("time_left", ids=json.dumps(expiring))}
    return [
        replace(
            task, expires=_by_this_clock(task.headers["expires"], now + timedelta(seconds=left[task.lease.task_id]))
        )
        if task.lease.task_id in left
        else task
        for task in taken
    ]


def _by_this_clock(named: Any, reckoned: datetime) -> str:
    try:
        moment = datetime.fromisoformat(named)
    except (TypeError, ValueError):  # another producer's format, which the ledger could read
        return reckoned.isoformat()
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return named if abs(moment - reckoned) < AGREEING else reckoned.isoformat()


def _take_of_queues(
    tx: Tx, statement: str, worker_id: str, queues: Sequence[str], batch: int, *, may_be_suspect: bool
) -> list[Taken]:
    if batch < 1 or not queues:
        return []
    in_order = list(dict.fromkeys(queues))
    rows = tx.fetch(
        statement, worker_id=worker_id, queues=json.dumps(in_order), batch=batch, suspects=int(may_be_suspect)
    )
    return _timed(tx, [_taken(row, worker_id) for row in _in_turns(rows, in_order)])


def _in_turns(rows: list[Row], queues: Sequence[str]) -> list[Row]:
    # RETURNING has no order. This is the order in which the statement chose the rows.
    turns: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: (-_number(row.priority), row.seq)):
        turns[row.queue] += 1
        ranked.append((turns[row.queue], row))
    ranked.sort(key=lambda turn: (turn[0], queues.index(turn[1].queue)))
    return [row for _, row in ranked]


def _taken(row: Row, worker_id: str) -> Taken:
    return Taken(
        lease=Lease(task_id=row.id, fence=row.fence, worker_id=worker_id),
        queue=row.queue,
        name=row.name,
        body=row.body,
        body_encoding=row.body_encoding,
        content_type=row.content_type,
        content_encoding=row.content_encoding,
        headers=_json(row.headers),
        properties=_json(row.properties),
        exchange=row.exchange,
        routing_key=row.routing_key,
        priority=_number(row.priority),
        is_redelivered=bool(row.is_redelivered),
        written_by=row.written_by,
        is_suspect=bool(row.is_suspect),
        waited_s=None if row.waited_s is None else float(row.waited_s),
        taken_at=time.time(),
    )


def _json(text: Any) -> Any:
    """Return the value, or None if it is not JSON. A broken row must not prevent the batch from being taken."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> int:
    # SQLite stores text where its column says a number.
    return value if isinstance(value, int) else 0
