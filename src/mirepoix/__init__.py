"""Mirepoix: reliable Celery. Every task is a row in a SQL ledger, and every row is accounted for."""

from mirepoix.celery.app import Installation, install, installation_of
from mirepoix.celery.bulk import bulk
from mirepoix.celery.step import idempotency_key, step
from mirepoix.celery.transactional import transaction
from mirepoix.connect.ambient import using
from mirepoix.retries.policy import RetryPolicy

__all__ = [
    "Installation",
    "RetryPolicy",
    "bulk",
    "idempotency_key",
    "install",
    "installation_of",
    "step",
    "transaction",
    "using",
]
