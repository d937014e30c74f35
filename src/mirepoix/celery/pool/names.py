"""The names by which Celery finds our pools: ``celery worker -P mirepoix``, and the setting ``worker_pool``."""

from __future__ import annotations

import sys
from typing import Any

from celery.concurrency import ALIASES

POOLS = {
    "mirepoix": "mirepoix.celery.pool.direct:TaskPool",
    "mirepoix-asyncio": "mirepoix.celery.pool.asynchronous:AsyncTaskPool",
}
"""The pools by their names."""


def register() -> None:
    """Let Celery know our pools. Its command line reads the names once, before it loads the commands of others."""
    for name, where in POOLS.items():
        ALIASES.setdefault(name, where)
    command: Any = sys.modules.get("celery.bin.worker")
    for option in command.worker.params if command is not None else ():
        if "--pool" in option.opts:
            option.type.choices = (*option.type.choices, *(name for name in POOLS if name not in option.type.choices))
