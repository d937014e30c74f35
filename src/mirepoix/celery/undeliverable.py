"""Refuse a task that cannot be given to the pool. One row must not end a worker, nor be taken again for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery.utils.log import get_logger

from mirepoix.celery import outcome
from mirepoix.records import AttemptFailure, IncompatibilityKind, Lease
from mirepoix.states import AttemptOutcome

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = get_logger("mirepoix.worker")


PAUSE_S = 1.0
"""How long a task waits after this process had too little memory, or too few threads or files, to start it."""

OF_THE_PROCESS = (OSError, MemoryError, RuntimeError)
"""The errors that a pool raises when it can take no task at all."""


def park_undeliverable(
    installation: Installation,
    lease: Lease,
    name: str,
    reason: str,
    error: Exception,
    lacking: IncompatibilityKind | None = None,
    shape: str | None = None,
) -> None:
    """Park the task. *lacking* and *shape* are as in `mirepoix.celery.outcome.park`.

    If the ledger refuses that, the task goes back, and its handovers are counted, so that ``max_handovers`` ends it.
    Raises only errors that show that the ledger is away.
    """
    try:
        outcome.park(installation, lease, name, AttemptFailure(reason), error, lacking, shape)
    except installation.source.disconnects:
        raise
    except Exception:
        logger.exception("task %s[%s] cannot be parked: %s", name, lease.task_id, reason)
        worker = installation.worker
        if worker is not None:
            worker.report_lost(lease, AttemptFailure(reason), outcome=AttemptOutcome.LOST, delay_s=PAUSE_S)
    else:
        if installation.worker is not None:
            installation.worker.leases.held.forget(lease.key)


def pool_refused(installation: Installation, lease: Lease, name: str, error: Exception) -> None:
    """Park the task or give it back, since the pool did not take it. The worker continues in both cases."""
    reason = f"it cannot be given to the pool: {type(error).__name__}: {error}"
    worker = installation.worker
    if worker is None:
        return
    if worker.leases.is_stopping:
        worker.leases.held.abandon([lease], now=True)
    elif isinstance(error, OF_THE_PROCESS):
        logger.error("task %s[%s] goes back: %s", name, lease.task_id, reason)
        worker.report_lost(lease, AttemptFailure(reason), outcome=AttemptOutcome.LOST, delay_s=PAUSE_S)
    else:
        park_undeliverable(installation, lease, name, reason, error)
