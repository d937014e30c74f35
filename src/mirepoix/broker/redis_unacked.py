"""Let Redis keep no second copy of a notification: the task itself is in the ledger.

Redis has no acknowledgements: kombu writes each message that it hands out into a hash and a sorted set, and takes it
out again when it is acknowledged, two transactions a message. That is for messages which exist nowhere else. A
notification does: if it is lost here, reconciliation sends another, long before the visibility timeout
would. Messages of tasks that were sent past the ledger are kept as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from kombu.transport.virtual import QoS

from mirepoix.broker.message import is_of_ledger, is_probe

logger = logging.getLogger("mirepoix.delivery")


def keep_no_copy(channel: Any) -> None:
    """Change how *channel* accounts for what it hands out, if it is one of kombu's for Redis. Before it consumes."""
    qos = getattr(channel, "qos", None)  # AMQP has none of kombu's
    cls = type(qos)
    if cls.__module__ == "kombu.transport.redis" and not isinstance(qos, NotificationQoS):
        qos.__class__ = type(cls.__name__, (NotificationQoS, cls), {})


def is_notification(qos: Any, delivery_tag: Any) -> bool:
    """Whether the broker knows nothing of a message that it handed out."""
    return isinstance(qos, NotificationQoS) and qos.is_notification(delivery_tag)


class NotificationQoS(QoS):  # type: ignore[misc]
    """Account for notifications in this process only, and for other messages as kombu's class for Redis does."""

    def is_notification(self, delivery_tag: Any) -> bool:
        """Whether it is a notification."""
        message = self._delivered.get(delivery_tag)
        return message is not None and _is_notification(message)

    def append(self, message: Any, delivery_tag: Any) -> None:
        """It is handed out."""
        if _is_notification(message):
            QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: Any) -> None:
        """It is done with."""
        if self.is_notification(delivery_tag):
            QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """It is done with, or goes back to where it came from."""
        if not self.is_notification(delivery_tag):
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self._give_back([self._delivered[delivery_tag]], leftmost=True)
        QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> Any:
        """The channel is closed: what is not acknowledged goes back, as far as the broker can be reached.

        Of a lost broker even the pool of connections may be gone by now, and kombu raises whatever that leads to. It
        must not end the worker, which is about to connect again: tasks of the ledger are sent again, and what was sent
        past it Redis itself keeps.
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
        restore = self.channel._do_restore_message  # noqa: SLF001
        with self.pipe_or_acquire() as pipe:
            for message in messages:
                info = message.delivery_info
                restore(message._raw, info["exchange"], info["routing_key"], pipe, leftmost)  # noqa: SLF001
            pipe.execute()


def _is_notification(message: Any) -> bool:
    return is_of_ledger(message) or is_probe(message)
