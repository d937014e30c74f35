"""What the delivery by a broker needs and an older Celery or kombu lacks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def has_global_qos(consumer: Any) -> bool:
    """Whether a change of the prefetch count also affects existing consumers. From 5.7 on, the consumer has a flag."""
    if hasattr(consumer, "qos_global"):
        return bool(consumer.qos_global)
    from celery.worker.consumer.tasks import Tasks  # imports the whole worker, which clients do not need

    return bool(Tasks.qos_global(None, consumer))


def batch(producer: Any) -> AbstractContextManager[Any]:
    """Let *producer* send in one batch inside the block, if kombu (from 5.7 on) and the broker can: else one by one."""
    begin: Callable[[], AbstractContextManager[Any]] = getattr(producer, "batch", nullcontext)
    return begin()
