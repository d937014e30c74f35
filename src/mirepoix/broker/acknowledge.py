"""Acknowledge many messages with as few commands as the broker allows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from mirepoix.broker.redis_unacked import is_notification
from mirepoix.delivery import private

logger = logging.getLogger("mirepoix.delivery")


def acknowledge(messages: Sequence[Any], others: Iterable[Any], errors: tuple[type[BaseException], ...]) -> None:
    """Acknowledge *messages* of one channel. *others* are its messages that must not be acknowledged now.

    A lost connection is logged and not raised, as in Celery. The broker sends the messages again, and then no lease is
    found for them.
    """
    if not messages:
        return
    try:
        if _acknowledge_in_a_pipeline(messages):
            return
        rest = _acknowledge_up_to(messages, others)
    except errors as error:
        logger.warning("%d message(s) could not be acknowledged and will come again: %s", len(messages), error)
        return
    for message in rest:
        message.ack_log_error(logger, errors)


def _acknowledge_up_to(messages: Sequence[Any], others: Iterable[Any]) -> list[Any]:
    """Acknowledge with one command of AMQP all messages up to a number. Return the messages that are left."""
    if len(messages) == 1 or not all(type(message.delivery_tag) is int for message in messages):
        return list(messages)
    first_other = min((other.delivery_tag for other in others if not other.acknowledged), default=None)
    ordered = sorted(messages, key=lambda message: message.delivery_tag)
    before = [message for message in ordered if first_other is None or message.delivery_tag < first_other]
    if before:
        before[-1].ack(multiple=True)
        for message in before[:-1]:
            private.mark_acknowledged(message)
    return ordered[len(before) :]


def _acknowledge_in_a_pipeline(messages: Sequence[Any]) -> bool:
    """Acknowledge them in Redis in one round trip; notifications need none. Return False if the broker is no Redis."""
    qos: Any = getattr(messages[0].channel, "qos", None)
    remove = private.index_remover(qos)
    if remove is None:
        return False
    kept = [message for message in messages if not is_notification(qos, message.delivery_tag)]
    if kept:
        with qos.pipe_or_acquire() as pipe:
            for message in kept:
                remove(message.delivery_tag, pipe)
            pipe.execute()
    for message in messages:
        private.forget_delivered(qos, message.delivery_tag)
        private.mark_acknowledged(message)
    return True
