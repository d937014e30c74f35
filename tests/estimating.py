"""A broker as SQS is to kombu: it estimates how many messages wait, and has errors of its own for its queues."""

from __future__ import annotations

from typing import Any

from kombu.transport import memory

FORBIDDEN = "forbidden"
"""A queue that nobody may make, or publish to."""


class QueueForbidden(Exception):
    """What it raises: no error of kombu's."""


class Channel(memory.Channel):
    def _new_queue(self, queue: str, **options: Any) -> None:
        if queue == FORBIDDEN:
            raise QueueForbidden(queue)
        super()._new_queue(queue, **options)

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        if queue == FORBIDDEN:
            raise QueueForbidden(queue)
        super()._put(queue, message, **options)

    def _size(self, queue: str) -> int:
        return 0  # minutes late, as an estimate is


class Transport(memory.Transport):
    Channel = Channel
    driver_type = "estimating"
    driver_name = "estimating"
