"""Mirepoix: reliable Celery. Every task is a row in a SQL ledger, and every row is accounted for.

Each name is imported at its first use. pytest imports this package to find our plugin, and must not import Celery.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirepoix.celery.app import install
    from mirepoix.celery.bulk import bulk
    from mirepoix.celery.handle import Handle
    from mirepoix.celery.installation import Installation, installation_of
    from mirepoix.celery.limits import Limit
    from mirepoix.celery.schedule import Schedule
    from mirepoix.celery.step import idempotency_key, step
    from mirepoix.celery.submit import submit_once
    from mirepoix.celery.transactional import transaction
    from mirepoix.celery.typed import Task, typed
    from mirepoix.celery.unique import Unique
    from mirepoix.connect.ambient import using
    from mirepoix.retries.policy import RetryPolicy

__all__ = [
    "Handle",
    "Installation",
    "Limit",
    "RetryPolicy",
    "Schedule",
    "Task",
    "Unique",
    "bulk",
    "idempotency_key",
    "install",
    "installation_of",
    "step",
    "submit_once",
    "transaction",
    "typed",
    "using",
]

_HOMES = {
    "Handle": "mirepoix.celery.handle",
    "Installation": "mirepoix.celery.installation",
    "Limit": "mirepoix.celery.limits",
    "RetryPolicy": "mirepoix.retries.policy",
    "Task": "mirepoix.celery.typed",
    "Schedule": "mirepoix.celery.schedule",
    "Unique": "mirepoix.celery.unique",
    "bulk": "mirepoix.celery.bulk",
    "idempotency_key": "mirepoix.celery.step",
    "install": "mirepoix.celery.app",
    "installation_of": "mirepoix.celery.installation",
    "step": "mirepoix.celery.step",
    "submit_once": "mirepoix.celery.submit",
    "transaction": "mirepoix.celery.transactional",
    "typed": "mirepoix.celery.typed",
    "using": "mirepoix.connect.ambient",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
