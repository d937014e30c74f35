"""Decide, as a broker does, whether an exchange routes a key to a queue."""

from __future__ import annotations

from typing import Any

from kombu.transport.virtual.exchange import TopicExchange


def routes(queue: Any, routing_key: str) -> bool:
    """Whether a message with *routing_key* to the exchange of *queue*, a queue of kombu's, reaches the queue."""
    if queue.exchange.type == "fanout":
        return True
    if queue.exchange.type == "topic":
        topic = TopicExchange(None)
        return bool(topic._match(topic.key_to_pattern(queue.routing_key or ""), routing_key))  # noqa: SLF001
    return bool(queue.routing_key == routing_key)
