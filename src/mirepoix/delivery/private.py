"""What we take from inside kombu, with its transport for Redis: each private attribute and patched class, and why.

kombu promises none of it, so nothing else in Mirepoix names it. `tests/celery/test_private.py` asserts with every
promised Celery that all of it exists and has the parameters that we use, and lists what our subclasses of kombu's
classes override. `celery/private.py` is the list for Celery.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

# ---- any transport


def mark_acknowledged(message: Any) -> None:
    """Mark *message* as acknowledged. One command acknowledged many, and its own ``ack()`` would send another."""
    message._state = "ACK"


def reraise_error(message: Any, callback: Callable[[Any, Exception], None]) -> None:
    """Call *callback* with the error of decoding *message*, as kombu's consumer does."""
    message._reraise_error(callback)


def queue_of_tag(consumer: Any, tag: Any) -> str | None:
    """The queue that kombu's *consumer* consumes with that consumer tag. A message contains only the tag."""
    for queue, own in consumer._active_tags.items():
        if own == tag:
            return str(queue)
    return None


def topic_matches(topic: Any, pattern: str, routing_key: str) -> bool:
    """Whether a topic exchange routes the key to a queue bound with *pattern*, as a broker would."""
    return bool(topic._match(topic.key_to_pattern(pattern), routing_key))


def connect_at_pace(connection: Any, pause_s: float) -> None:
    """Replace ``connection.ensure_connection``: Celery has no setting for less than its pauses of up to 30 s."""
    connection.ensure_connection = partial(
        connection.ensure_connection, interval_start=pause_s, interval_step=0, interval_max=pause_s
    )


def wrap_purge(connection: Any, purge: Callable[..., int]) -> None:
    """Replace ``connection.channel``, and the ``queue_purge`` of what it opens: ``celery purge`` calls nothing else.

    *purge* is called with kombu's own method and the arguments.
    """
    open_channel = connection.channel

    def channel(*args: Any, **kwargs: Any) -> Any:
        made = open_channel(*args, **kwargs)
        made.queue_purge = partial(purge, made.queue_purge)
        return made

    connection.channel = channel


# ---- virtual transports: ours, and kombu's for Redis


def deliver(transport: Any, message: Any, queue: str) -> None:
    """Deliver a message to the consumers of *queue*. kombu has no public method for a message that it has not read."""
    transport._deliver(message, queue)


def has_consumers(channel: Any) -> bool:
    """Whether *channel* has consumers."""
    return bool(channel._consumers)


def is_delivered(qos: Any, delivery_tag: Any) -> bool:
    """Whether the message was delivered and is not acknowledged."""
    return delivery_tag in qos._delivered


def forget_delivered(qos: Any, delivery_tag: Any) -> None:
    """Free the place of a message in the prefetch, and send no command: the broker has its acknowledgement already."""
    qos._quick_ack(delivery_tag)


def subclass_message(channel: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of the messages that *channel* makes: kombu raises for a broken one, and that ends the worker."""
    channel.Message = subclass(channel.Message)


# ---- Redis


def is_redis_channel(channel: Any) -> bool:
    """Whether *channel* is kombu's for Redis. Its class is not imported, since that needs the library."""
    return hasattr(channel, "_q_for_pri") and hasattr(channel, "unacked_key")


def is_redis_qos(qos: Any) -> bool:
    """Whether *qos* is the QoS of kombu's channel for Redis."""
    return type(qos).__module__ == "kombu.transport.redis"


def subclass_qos(qos: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of a channel's QoS: it would store a second copy of each notification in Redis."""
    qos.__class__ = subclass(type(qos))


def index_remover(qos: Any) -> Callable[[Any, Any], Any] | None:
    """The function that deletes a tag from Redis' unacknowledged messages, in a pipeline; None for another broker."""
    found: Callable[[Any, Any], Any] | None = getattr(qos, "_remove_from_indices", None)
    return found


def restorer(channel: Any) -> Callable[[Any, Any, Any, Any, bool], Any]:
    """The function that requeues a message in a pipeline: ``(payload, exchange, routing_key, pipe, leftmost)``."""
    found: Callable[[Any, Any, Any, Any, bool], Any] = channel._do_restore_message
    return found


def payload_of(message: Any) -> Any:
    """A virtual message in its broker's form, which `restorer` takes."""
    return message._raw


def blocking_reader(channel: Any) -> Callable[..., Any] | None:
    """The function that reads the next message from Redis; None if *channel* is not for Redis."""
    found: Callable[..., Any] | None = getattr(channel, "_brpop_read", None)
    return found


def replace_blocking_reader(channel: Any, reader: Callable[..., Any]) -> None:
    """Replace `blocking_reader`: kombu has removed an item from its list before it finds that the item is no JSON."""
    channel._brpop_read = channel.handlers["BRPOP"] = reader


def replace_parser(client: Any, parser: Callable[..., Any]) -> None:
    """Replace ``client.parse_response`` of Redis' library: only there is an answer seen before kombu reads it."""
    client.parse_response = parser


def restore_parser(client: Any) -> None:
    """Undo `replace_parser`."""
    del client.parse_response


def queues_routed_to(channel: Any, exchange: str, routing_key: str) -> list[str]:
    """The queues into which kombu would put a message with that exchange and routing key."""
    return list(channel._lookup(exchange, routing_key))


def list_of(channel: Any, queue: str, priority: int) -> str:
    """The name of Redis' list, without a prefix, for messages of *queue* with that priority."""
    return str(channel._q_for_pri(queue, priority))


def bindings(channel: Any, exchange: str) -> tuple[str, str]:
    """The key of Redis' set, without a prefix, of the queues bound to *exchange*, and what separates a member's parts.

    The queue is the last part of a member.
    """
    return str(channel.keyprefix_queue % (exchange,)), str(channel.sep)


def priority_of(channel: Any, payload: Any) -> int:
    """The priority of a message in Redis' form. Raises what kombu raises if it is no message."""
    return int(channel._get_message_priority(payload, reverse=False))
