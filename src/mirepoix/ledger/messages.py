"""Remote control, its replies and events: messages that are no tasks and need not survive."""

from __future__ import annotations

import re

from mirepoix.ledger.tx import Tx
from mirepoix.records import Event


def put(tx: Tx, message: str, *, queue: str = "", exchange: str = "") -> None:
    """Leave *message* for one queue, or for everyone who listens to an exchange."""
    if exchange:
        tx.fetch("order_broadcasts", exchange=exchange)
    tx.run("put_message", queue=queue, exchange=exchange, message=message)
    tx.fetch("wake_listeners")


def publish(tx: Tx, event: Event) -> None:
    """Leave an event for those who listen: each queue whose binding its routing key fits, or the whole exchange."""
    if event.is_fanout:
        put(tx, event.message, exchange=event.exchange)
        return
    bound = bindings(tx, event.exchange)
    for queue in sorted({queue for key, pattern, queue in bound if _fits(event.routing_key, key, pattern)}):
        put(tx, event.message, queue=queue)


def _fits(routing_key: str, key: str, pattern: str) -> bool:
    return bool(re.match(pattern, routing_key)) if pattern else routing_key == key


def take(tx: Tx, queue: str) -> list[str]:
    """Remove and return what waits for *queue*, oldest first."""
    return [row.message for row in sorted(tx.fetch("get_messages", queue=queue), key=lambda row: row.id)]


def broadcasts(tx: Tx, exchange: str, after: int) -> list[tuple[int, str]]:
    """What was broadcast to *exchange* after that position: ``(position, message)`` each."""
    return [(row.id, row.message) for row in tx.fetch("get_broadcasts", exchange=exchange, after=after)]


def position(tx: Tx, exchange: str) -> int:
    """Where a listener that begins now stands."""
    return int(tx.fetch("last_message", exchange=exchange)[0].last_id)


def bind(tx: Tx, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
    """Send what is published to *exchange* with that key to *queue* as well."""
    tx.run("bind", exchange=exchange, routing_key=routing_key, pattern=pattern, queue=queue)


def unbind(tx: Tx, queue: str) -> None:
    """Forget a queue: its bindings and what waits in it."""
    tx.run("unbind", queue=queue)
    tx.run("drop_messages", queue=queue)


def bindings(tx: Tx, exchange: str) -> list[tuple[str, str, str]]:
    """``(routing key, pattern, queue)`` of everything bound to *exchange*."""
    return [(row.routing_key, row.pattern, row.queue) for row in tx.fetch("bindings", exchange=exchange)]


def forget_old(tx: Tx, older_than_s: float, bindings_older_than_s: float) -> None:
    """Drop what everybody has read, and the queues of clients that died without a word."""
    tx.run("forget_old_messages", older_than_s=older_than_s)
    tx.run("forget_stale_bindings", older_than_s=bindings_older_than_s)
