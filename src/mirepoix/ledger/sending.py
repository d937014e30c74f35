"""Record which tasks were published to the broker, and which are still to be published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Unsent
from mirepoix.sql.columns import Row


@dataclass(frozen=True, slots=True)
class QueueInBroker:
    """The *ready* tasks of one queue. *sent* were published, *unsent* not yet; the others were sent without a broker.

    Ages are in seconds.
    """

    queue: str
    sent: int
    settled: int
    """How many of them were published longer ago than `load` was asked for."""
    oldest_sent_s: float | None
    unsent: int
    ready: int


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """What a relay last saw of a queue. None means that it never looked."""

    queue: str
    broker_messages: int | None
    looked_s: float | None
    probed_s: float | None


@dataclass(frozen=True, slots=True)
class Leader:
    """The relay that publishes, and the error that prevents it."""

    worker_id: str
    name: str
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Listener:
    """A live worker that takes tasks from the broker, and how long ago it last received something from each queue."""

    worker_id: str
    name: str
    queues: tuple[str, ...]
    concurrency: int
    silent_s: float
    up_s: float


def unsent(tx: Tx, grace_s: float, batch: int, held_up: Iterable[str] = ()) -> list[Unsent]:
    """Return up to *batch* tasks that are to be published now, the oldest first.

    A task that its sender promised to publish is left out for *grace_s*. Queues in *held_up* are left out.
    """
    rows = tx.fetch("unsent", grace_s=grace_s, batch=batch, held_up=json.dumps(list(held_up)))
    return [_unsent(row) for row in rows]


def note_sent(tx: Tx, confirmed: Sequence[tuple[str, int]]) -> int:
    """Record that the broker has confirmed these, each as ``(task id, fence)``. Returns how many still wait.

    The fence must be the published one: a task that came back since then has to be published again.
    """
    rows = [{"id": task_id, "fence": fence} for task_id, fence in confirmed]
    return tx.run("note_sent", rows=json.dumps(rows)) if rows else 0


def claim_unmarked(tx: Tx, batch: int) -> int:
    """Let the relay publish up to *batch* tasks that were sent without a broker; return how many."""
    return tx.run("claim_unmarked", batch=batch)


def resend_late(tx: Tx, queue: str, deadline_s: float) -> int:
    """Publish tasks again that nobody took for *deadline_s* (then for twice that, and so on); return how many."""
    return tx.run("resend", queue=queue, deadline_s=deadline_s)


def resend_all(tx: Tx, queue: str, older_than_s: float) -> int:
    """Publish all tasks again that were published longer ago and not taken; return how many."""
    return tx.run("resend_all", queue=queue, older_than_s=older_than_s)


def count_unsent(tx: Tx) -> int:
    """Return how many ready tasks are still to be published."""
    return int(tx.fetch("count_unsent")[0].tasks)


def load(tx: Tx, settled_s: float) -> list[QueueInBroker]:
    """Return every queue with ready tasks, and how many of them were published."""
    return [
        QueueInBroker(
            queue=row.queue,
            sent=int(row.sent),
            settled=int(row.settled),
            oldest_sent_s=_float(row.oldest_sent_s),
            unsent=int(row.unsent),
            ready=int(row.ready),
        )
        for row in tx.fetch("load_broker", settled_s=settled_s)
    ]


def waits(tx: Tx) -> dict[str, float]:
    """Return the longest time in seconds that a held task had waited in the broker, by queue."""
    return {row.queue: float(row.waited_s) for row in tx.fetch("waits")}


def leader(tx: Tx) -> Leader | None:
    """Return the relay that has to publish, or None."""
    rows = tx.fetch("leader")
    return Leader(**rows[0].as_dict()) if rows else None


def note_trouble(tx: Tx, worker_id: str, trouble: str | None) -> None:
    """Record the error that prevents the leader from publishing, or None."""
    tx.run("note_trouble", worker_id=worker_id, trouble=storable(trouble))


def note_queue(tx: Tx, queue: str, messages: int) -> None:
    """Record how many messages of a queue the broker has and has not delivered."""
    tx.run("note_queue", name=queue, messages=messages)


def note_probe(tx: Tx, queue: str) -> None:
    """Record that the broker has confirmed probes for a queue."""
    tx.run("note_probe", name=queue)


def note_received(tx: Tx, worker_id: str, silent_s: float) -> None:
    """Record how long ago a worker last received something from each of its queues."""
    tx.run("note_received", worker_id=worker_id, silent_s=round(silent_s, 3))


def seen(tx: Tx) -> list[QueueSeen]:
    """Return what relays last saw of each queue."""
    return [
        QueueSeen(row.queue, row.broker_messages, looked_s=_float(row.looked_s), probed_s=_float(row.probed_s))
        for row in tx.fetch("probes")
    ]


def listeners(tx: Tx) -> list[Listener]:
    """Return the live workers that take tasks from the broker."""
    return [
        Listener(
            worker_id=row.worker_id,
            name=row.name,
            queues=tuple(json.loads(row.queues)),
            concurrency=row.concurrency,
            silent_s=float(row.silent_s),
            up_s=float(row.up_s),
        )
        for row in tx.fetch("listeners")
    ]


def _unsent(row: Row) -> Unsent:
    message = row.as_dict()
    fence = message.pop("fence")
    message |= {"headers": json.loads(row.headers), "properties": json.loads(row.properties)}
    return Unsent(Envelope(**message), fence)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
