"""What a broker in front of the ledger was told of, and what it has still to be told of."""

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
    """The *ready* tasks of one queue: *sent* of them to the broker, *unsent* not yet; the rest was written without one.

    Ages are in seconds.
    """

    queue: str
    sent: int
    settled: int
    """How many of them were sent longer ago than was asked for."""
    oldest_sent_s: float | None
    unsent: int
    ready: int


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """What a relay last saw of a queue. ``None``: never."""

    queue: str
    broker_messages: int | None
    looked_s: float | None
    probed_s: float | None


@dataclass(frozen=True, slots=True)
class Leader:
    """The relay that publishes, and what keeps it from that."""

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
    """Up to *batch* tasks that the broker is to be told of now, oldest first.

    What its sender promised to publish is left to it for *grace_s*. Queues that are *held_up* are left out.
    """
    rows = tx.fetch("unsent", grace_s=grace_s, batch=batch, held_up=json.dumps(list(held_up)))
    return [_unsent(row) for row in rows]


def note_sent(tx: Tx, confirmed: Sequence[tuple[str, int]]) -> int:
    """Note that the broker has confirmed these: ``(task id, fence)`` each. Returns how many still wait to be taken.

    The fence must be the one that was published: a task that came back since then is to be published again.
    """
    rows = [{"id": task_id, "fence": fence} for task_id, fence in confirmed]
    return tx.run("note_sent", rows=json.dumps(rows)) if rows else 0


def claim_unmarked(tx: Tx, batch: int) -> int:
    """Let the relay publish what was written while there was no broker; return how much that is, up to *batch*."""
    return tx.run("claim_unmarked", batch=batch)


def resend_late(tx: Tx, queue: str, deadline_s: float) -> int:
    """Publish again what nobody has taken for *deadline_s* (twice that the second time, and so on); return how many."""
    return tx.run("resend", queue=queue, deadline_s=deadline_s)


def resend_all(tx: Tx, queue: str, older_than_s: float) -> int:
    """Publish again whatever was sent longer ago than that and not taken; return how many."""
    return tx.run("resend_all", queue=queue, older_than_s=older_than_s)


def count_unsent(tx: Tx) -> int:
    """How many ready tasks the broker is still to be told of."""
    return int(tx.fetch("count_unsent")[0].tasks)


def load(tx: Tx, settled_s: float) -> list[QueueInBroker]:
    """Every queue with ready tasks, and how many of them the broker was told of."""
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
    """How long what workers hold now had waited in the broker, at the most: seconds by queue."""
    return {row.queue: float(row.waited_s) for row in tx.fetch("waits")}


def leader(tx: Tx) -> Leader | None:
    """The one that is to publish, or None."""
    rows = tx.fetch("leader")
    return Leader(**rows[0].as_dict()) if rows else None


def note_trouble(tx: Tx, worker_id: str, trouble: str | None) -> None:
    """Note what keeps the leader from publishing, or that nothing does any more."""
    tx.run("note_trouble", worker_id=worker_id, trouble=storable(trouble))


def note_queue(tx: Tx, queue: str, messages: int) -> None:
    """Note how many messages the broker has in a queue, not counting those it has handed out."""
    tx.run("note_queue", name=queue, messages=messages)


def note_probe(tx: Tx, queue: str) -> None:
    """Note that the broker has confirmed probes for a queue."""
    tx.run("note_probe", name=queue)


def note_received(tx: Tx, worker_id: str, silent_s: float) -> None:
    """Note how long ago a worker last received something from each of its queues."""
    tx.run("note_received", worker_id=worker_id, silent_s=round(silent_s, 3))


def seen(tx: Tx) -> list[QueueSeen]:
    """What relays last saw of each queue."""
    return [
        QueueSeen(row.queue, row.broker_messages, looked_s=_float(row.looked_s), probed_s=_float(row.probed_s))
        for row in tx.fetch("probes")
    ]


def listeners(tx: Tx) -> list[Listener]:
    """The live workers that take tasks from the broker."""
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
