"""Decide, as a broker does, whether an exchange routes a key to a queue."""

from __future__ import annotations

from typing import Any

from kombu.transport.virtual.exchange import TopicExchange

from mirepoix.delivery import private


def routes(queue: Any, routing_key: str) -> bool:
    """Whether a message with *routing_key* to the exchange of *queue*, a queue of kombu's, reaches the queue."""
    if queue.exchange.type == "fanout":
        return True
    if queue.exchange.type == "topic":
        return private.topic_matches(TopicExchange(None), queue.routing_key or "", routing_key)
    return bool(queue.routing_key == routing_key)
