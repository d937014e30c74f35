"""Who is alive: register a worker, renew its leases, declare the dead dead."""

from __future__ import annotations

import json

from mirepoix.ledger.tx import Tx
from mirepoix.records import Worker


def register(tx: Tx, worker: Worker, ttl_s: float) -> int:
    """Write a new incarnation and return its liveness key. Take its liveness lock before committing."""
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
        ttl_s=ttl_s,
        relays=worker.relays,
    )
    return int(rows[0][0])


def heartbeat(tx: Tx, worker_id: str, ttl_s: float) -> bool:
    """Renew every lease of the worker. False: it was declared dead, and everything it runs is a zombie."""
    return bool(tx.fetch("heartbeat", worker_id=worker_id, ttl_s=ttl_s))


def declare_dead(tx: Tx, worker_id: str, reason: str) -> bool:
    """Record that a worker's process is gone. False if somebody else has, or it stopped."""
    return bool(tx.fetch("declare_dead", worker_id=worker_id, reason=reason))


def declare_silent_dead(tx: Tx) -> list[tuple[str, str]]:
    """Record the death of every worker whose heartbeat stayed out: ``(id, name)`` each."""
    return [(row[0], row[1]) for row in tx.fetch("declare_silent_workers_dead")]


def stop(tx: Tx, worker_id: str) -> bool:
    """Record that the worker ended as it should."""
    return bool(tx.fetch("stop_worker", worker_id=worker_id))
