"""What we take from inside kombu, with its transport for Redis: each private attribute and patched class, and why.

kombu promises none of it, so nothing else in Mirepoix names it. `tests/celery/test_private.py` asserts with every
promised Celery that all of it exists and has the parameters that we use, and lists what our subclasses of kombu's
classes override. `celery/private.py` is the list for Celery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# ---- any transport


def mark_acknowledged(message: Any) -> None:
    """Note that *message* was acknowledged together with others: its own ``ack()`` would be another command."""
    message._state = "ACK"


def reraise_error(message: Any, callback: Callable[[Any, Exception], None]) -> None:
    """Have *callback* called with what went wrong when *message* was decoded, as kombu's consumer does."""
    message._reraise_error(callback)


def queue_of_tag(consumer: Any, tag: Any) -> str | None:
    """The queue that *consumer* (kombu's) listens to under that consumer tag. A message names only the tag."""
    for queue, own in consumer._active_tags.items():
        if own == tag:
            return str(queue)
    return None


def topic_matches(topic: Any, pattern: str, routing_key: str) -> bool:
    """Whether a topic exchange routes the key to what is bound with *pattern*, as a broker would."""
    return bool(topic._match(topic.key_to_pattern(pattern), routing_key))


# ---- virtual transports: ours, and that for Redis


def deliver(transport: Any, message: Any, queue: str) -> None:
    """Hand a message to the consumers of *queue*: kombu has no public way in for what its loop has not read itself."""
    transport._deliver(message, queue)


def has_consumers(channel: Any) -> bool:
    """Whether somebody consumes on *channel*."""
    return bool(channel._consumers)


def is_delivered(qos: Any, delivery_tag: Any) -> bool:
    """Whether the message was handed out and is not acknowledged."""
    return delivery_tag in qos._delivered


def forget_delivered(qos: Any, delivery_tag: Any) -> None:
    """Free the place of a message in the prefetch, and ask the broker nothing: it was told with others."""
    qos._quick_ack(delivery_tag)


def subclass_message(channel: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of the messages that *channel* makes: kombu raises for a broken one, and that ends the worker."""
    channel.Message = subclass(channel.Message)


# ---- Redis


def is_redis_channel(channel: Any) -> bool:
    """Whether *channel* is one of kombu's for Redis. Its class is not imported: that needs the library."""
    return hasattr(channel, "_q_for_pri") and hasattr(channel, "unacked_key")


def is_redis_qos(qos: Any) -> bool:
    """Whether *qos* is what a channel for Redis accounts with."""
    return type(qos).__module__ == "kombu.transport.redis"


def subclass_qos(qos: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of what a channel accounts with: Redis would keep a second copy of each notification."""
    qos.__class__ = subclass(type(qos))


def index_remover(qos: Any) -> Callable[[Any, Any], Any] | None:
    """What takes a tag out of Redis' record of unacknowledged messages, in a pipeline; None: the broker is no Redis."""
    found: Callable[[Any, Any], Any] | None = getattr(qos, "_remove_from_indices", None)
    return found


def restorer(channel: Any) -> Callable[[Any, Any, Any, Any, bool], Any]:
    """What puts a message back into its queue, in a pipeline: ``(payload, exchange, routing_key, pipe, leftmost)``."""
    found: Callable[[Any, Any, Any, Any, bool], Any] = channel._do_restore_message
    return found


def payload_of(message: Any) -> Any:
    """A virtual message as its broker holds it, which is what `restorer` takes."""
    return message._raw


def blocking_reader(channel: Any) -> Callable[..., Any] | None:
    """What reads the next message from Redis; None: *channel* is none for Redis."""
    found: Callable[..., Any] | None = getattr(channel, "_brpop_read", None)
    return found


def replace_blocking_reader(channel: Any, reader: Callable[..., Any]) -> None:
    """Replace it: kombu has taken an item out of its list when it finds that it is no JSON."""
    channel._brpop_read = channel.handlers["BRPOP"] = reader


def queues_routed_to(channel: Any, exchange: str, routing_key: str) -> list[str]:
    """The queues that kombu would put such a message into."""
    return list(channel._lookup(exchange, routing_key))


def list_of(channel: Any, queue: str, priority: int) -> str:
    """The name of Redis' list, without a prefix, for messages of *queue* with that priority."""
    return str(channel._q_for_pri(queue, priority))


def priority_of(channel: Any, payload: Any) -> int:
    """The priority of a message as Redis holds it. Raises what kombu raises for what is none."""
    return int(channel._get_message_priority(payload, reverse=False))
