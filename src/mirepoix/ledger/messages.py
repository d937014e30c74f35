"""Remote control, its replies and events: messages that are not tasks and need not survive."""

from __future__ import annotations

import re

from mirepoix.ledger.tx import Tx
from mirepoix.records import Event


def put(tx: Tx, message: str, *, queue: str = "", exchange: str = "") -> None:
    """Write *message* for one queue, or for all listeners of an exchange."""
    if exchange:
        tx.fetch("order_broadcasts", exchange=exchange)
    tx.run("put_message", queue=queue, exchange=exchange, message=message)
    tx.fetch("wake_listeners")


def publish(tx: Tx, event: Event) -> None:
    """Write an event for each queue with a binding that fits its routing key, or for the whole exchange."""
    if event.is_fanout:
        put(tx, event.message, exchange=event.exchange)
        return
    bound = bindings(tx, event.exchange)
    for queue in sorted({queue for key, pattern, queue in bound if _fits(event.routing_key, key, pattern)}):
        put(tx, event.message, queue=queue)


def _fits(routing_key: str, key: str, pattern: str) -> bool:
    return bool(re.match(pattern, routing_key)) if pattern else routing_key == key


def take(tx: Tx, queue: str) -> list[str]:
    """Remove and return the messages of *queue*, the oldest first."""
    return [row.message for row in sorted(tx.fetch("get_messages", queue=queue), key=lambda row: row.id)]


def broadcasts(tx: Tx, exchange: str, after: int) -> list[tuple[int, str]]:
    """Return the broadcasts to *exchange* after that position, as ``(position, message)``."""
    return [(row.id, row.message) for row in tx.fetch("get_broadcasts", exchange=exchange, after=after)]


def position(tx: Tx, exchange: str) -> int:
    """Return the position of a listener that begins now."""
    return int(tx.fetch("last_message", exchange=exchange)[0].last_id)


def bind(tx: Tx, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
    """Bind *queue*: it gets what is published to *exchange* with that key."""
    tx.run("bind", exchange=exchange, routing_key=routing_key, pattern=pattern, queue=queue)


def unbind(tx: Tx, queue: str) -> None:
    """Delete a queue's bindings and messages."""
    tx.run("unbind", queue=queue)
    tx.run("drop_messages", queue=queue)


def bindings(tx: Tx, exchange: str) -> list[tuple[str, str, str]]:
    """Return ``(routing key, pattern, queue)`` of every binding of *exchange*."""
    return [(row.routing_key, row.pattern, row.queue) for row in tx.fetch("bindings", exchange=exchange)]


def forget_old(tx: Tx, older_than_s: float, bindings_older_than_s: float) -> None:
    """Delete messages that every client has read by now, and the bindings of clients that died."""
    tx.run("forget_old_messages", older_than_s=older_than_s)
    tx.run("forget_stale_bindings", older_than_s=bindings_older_than_s)
