"""Whether an exchange routes a key to a queue, as a broker does it."""

from __future__ import annotations

from typing import Any

from kombu.transport.virtual.exchange import TopicExchange


def routes(queue: Any, routing_key: str) -> bool:
    """Whether a message to the exchange of *queue* (kombu's) with that key reaches it."""
    if queue.exchange.type == "fanout":
        return True
    if queue.exchange.type == "topic":
        topic = TopicExchange(None)
        return bool(topic._match(topic.key_to_pattern(queue.routing_key or ""), routing_key))  # noqa: SLF001
    return bool(queue.routing_key == routing_key)
