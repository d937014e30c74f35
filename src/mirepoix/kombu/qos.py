"""How many messages of the ledger's transport may be with the worker at once."""

from __future__ import annotations

from typing import Any

from kombu.transport import virtual


class QoS(virtual.QoS):  # type: ignore[misc]
    """Acknowledging frees a place in the prefetch and nothing else: the ledger learns outcomes another way."""

    def can_consume(self) -> bool:
        """Whether one more message may be handed to the worker."""
        limit = self.channel.limit
        return not limit or self.unfinished < limit + self.channel.headroom

    @property
    def unfinished(self) -> int:
        """How many messages are with the worker."""
        return len(self._delivered) - len(self._dirty)

    def ack(self, delivery_tag: Any) -> None:
        """The attempt is over."""
        self._quick_ack(delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """The attempt is over; where the task goes was decided when its outcome was recorded."""
        self._quick_ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Nothing to restore: leases that have not started are handed back by the worker."""
