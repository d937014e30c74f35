"""What an older Celery or kombu lacks of what the delivery by a broker builds on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def has_global_qos(consumer: Any) -> bool:
    """Whether a change of the prefetch count reaches the consumers there are. The consumer knows it from 5.7 on."""
    if hasattr(consumer, "qos_global"):
        return bool(consumer.qos_global)
    from celery.worker.consumer.tasks import Tasks  # brings all of the worker, which clients do without

    return bool(Tasks.qos_global(None, consumer))


def batch(producer: Any) -> AbstractContextManager[Any]:
    """Around what *producer* sends at once, if kombu can (from 5.7 on, where the broker does): else one by one."""
    begin: Callable[[], AbstractContextManager[Any]] = getattr(producer, "batch", nullcontext)
    return begin()
