"""Limit how many messages of the ledger's transport the worker has at once."""

from __future__ import annotations

from typing import Any

from kombu.transport import virtual


class QoS(virtual.QoS):  # type: ignore[misc]
    """Count the messages that the worker has. To acknowledge one frees a place in the prefetch, and records nothing."""

    def can_consume(self) -> bool:
        """Whether the worker may have one more message."""
        limit = self.channel.limit
        return not limit or self.unfinished < limit + self.channel.headroom

    @property
    def unfinished(self) -> int:
        """How many messages the worker has."""
        lane = self.channel.lane
        return len(self._delivered) - len(self._dirty) + (0 if lane is None else len(lane))

    def ack(self, delivery_tag: Any) -> None:
        """Free the place: the attempt is over."""
        self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Free the place: the attempt is over, and its recorded outcome decides where the task goes."""
        self._quick_ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Restore nothing: the worker gives back the leases that have not started."""
