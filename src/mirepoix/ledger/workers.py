"""Register a worker, renew its leases, and declare a worker dead."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mirepoix.ledger.tx import Tx
from mirepoix.records import Neighbour, Worker
from mirepoix.sql.columns import Row


def register(tx: Tx, worker: Worker, ttl_s: float) -> int:
    """Write a new incarnation and return its liveness key. Take its liveness lock before you commit."""
    rows = tx.fetch(
        "register_worker",
        id=worker.id,
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        pool=worker.pool,
        concurrency=worker.concurrency,
        queues=json.dumps(list(worker.queues)),
        software=json.dumps(worker.software),
        process=worker.process,
        ttl_s=ttl_s,
        relays=worker.relay_role.value,
    )
    return int(rows[0].liveness_key)


def heartbeat(tx: Tx, worker_id: str, ttl_s: float, idle_s: float = 0.0, *, is_stopping: bool = False) -> bool:
    """Renew every lease of the worker. False: it was declared dead, and every task that it runs is a zombie.

    *idle_s* is how long ago its maintenance last completed a round. If it *is_stopping*, no task is blamed for its
    death.
    """
    params = {"worker_id": worker_id, "ttl_s": ttl_s, "idle_s": round(idle_s, 3), "is_stopping": int(is_stopping)}
    return bool(tx.run("heartbeat", **params))


def is_stopping(tx: Tx, worker_id: str) -> bool:
    """Whether the worker was asked to stop, as far as its heartbeats have said."""
    rows = tx.fetch("is_stopping", worker_id=worker_id)
    return bool(rows and rows[0].is_stopping)


def take_from(tx: Tx, worker_id: str, queues: Sequence[str]) -> None:
    """Record the queues that a live worker consumes now."""
    tx.run("note_queues", worker_id=worker_id, queues=json.dumps(list(queues)))


def neighbours(tx: Tx, worker_id: str) -> list[Neighbour]:
    """Return the other workers that count as alive."""
    return [neighbour(row) for row in tx.fetch("alive_workers", worker_id=worker_id)]


def neighbour(row: Row) -> Neighbour:
    """Build a `Neighbour` from a row."""
    return Neighbour(**{**row.as_dict(), "ttl_s": float(row.ttl_s)})


def declare_dead(
    tx: Tx, worker: Neighbour, reason: str, death: str = "hard", *, host: str | None = None, boot: str | None = None
) -> bool:
    """Record that a worker is dead. False if it was recorded before, or if the worker stopped or sent a heartbeat.

    *death* is ``hard`` or ``silent``, unless the worker was asked to stop. *host* and *boot* are the observer's.
    """
    params = {"worker_id": worker.id, "heartbeat": worker.heartbeat, "reason": reason, "death": death}
    return bool(tx.fetch("declare_dead", host=host, boot=boot, **params))


def end_of(tx: Tx, worker_id: str) -> str | None:
    """Return why a worker was declared dead."""
    rows = tx.fetch("reason_of_end", worker_id=worker_id)
    return rows[0].reason if rows else None


def stop(tx: Tx, worker_id: str) -> bool:
    """Record that the worker has stopped."""
    return bool(tx.fetch("stop_worker", worker_id=worker_id))
