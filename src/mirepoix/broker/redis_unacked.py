"""Store no second copy of a notification in Redis: the task itself is in the ledger.

Redis has no acknowledgements. So kombu writes each message that it delivers into a hash and a sorted set, and deletes
it there when it is acknowledged: two transactions a message. A message that exists nowhere else needs that. A
notification does not: if it is lost, reconciliation sends another one, long before the visibility timeout would. For
messages of tasks that were sent without the ledger, kombu still does so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from kombu.transport.virtual import QoS

from mirepoix.broker.message import is_of_ledger, is_probe
from mirepoix.delivery import private

logger = logging.getLogger("mirepoix.delivery")


def keep_no_copy(channel: Any) -> None:
    """Let *channel* store no copy of notifications, if it is kombu's for Redis. Call this before it consumes."""
    qos = getattr(channel, "qos", None)  # a channel of AMQP has no such object
    if private.is_redis_qos(qos) and not isinstance(qos, NotificationQoS):
        private.subclass_qos(qos, lambda cls: type(cls.__name__, (NotificationQoS, cls), {}))


def is_notification(qos: Any, delivery_tag: Any) -> bool:
    """Whether a delivered message is a notification, so that the broker has no copy of it."""
    return isinstance(qos, NotificationQoS) and qos.is_notification(delivery_tag)


class NotificationQoS(QoS):  # type: ignore[misc]
    """Counts notifications in this process only, and other messages as kombu's class for Redis does."""

    def is_notification(self, delivery_tag: Any) -> bool:
        message = self._delivered.get(delivery_tag)
        return message is not None and _is_notification(message)

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Count a message that is delivered."""
        if _is_notification(message):
            QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message."""
        if self.is_notification(delivery_tag):
            QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Drop a message, or put it back into its queue."""
        if not self.is_notification(delivery_tag):
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self._give_back([self._delivered[delivery_tag]], leftmost=True)
        QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> Any:
        """Put unacknowledged messages back into their queues when the channel closes, if the broker can be reached.

        If the broker is lost, even the pool of connections may be gone, and kombu may raise any error. That error must
        not end the worker, which is about to connect again. Tasks of the ledger are published again, and Redis has a
        copy of the other messages.
        """
        notifications = {tag: message for tag, message in self._delivered.items() if _is_notification(message)}
        try:
            self._give_back(
                [message for tag, message in notifications.items() if tag not in self._dirty], leftmost=False
            )
            for tag in notifications:
                self._delivered.pop(tag)
            return super().restore_unacked(client) if self._delivered else None
        except Exception as error:  # noqa: BLE001 (see above)
            logger.info("%d messages cannot be given back to the broker now: %r", len(self._delivered), error)
            self._delivered.clear()
            return None

    def _give_back(self, messages: Sequence[Any], *, leftmost: bool) -> None:
        if not messages:
            return
        restore = private.restorer(self.channel)
        with self.pipe_or_acquire() as pipe:
            for message in messages:
                info = message.delivery_info
                restore(private.payload_of(message), info["exchange"], info["routing_key"], pipe, leftmost)
            pipe.execute()


def _is_notification(message: Any) -> bool:
    return is_of_ledger(message) or is_probe(message)
