"""Refuse a task that cannot be handed to the pool: one row must not end a worker, nor be handed out for ever."""

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
"""How long a task waits that this process could not give to its pool for want of memory, threads or files."""

OF_THE_PROCESS = (OSError, MemoryError, RuntimeError)
"""What a pool raises when it can take no task at all."""


def park_undeliverable(
    installation: Installation,
    lease: Lease,
    name: str,
    reason: str,
    error: Exception,
    lacking: IncompatibilityKind | None = None,
    shape: str | None = None,
) -> None:
    """Park the task. *lacking* and *shape* are those of `mirepoix.celery.outcome.park`.

    If the ledger refuses even that, the task goes back and counts a handover, so that ``max_handovers`` ends it. Raises
    only what says that the ledger is away.
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
    """The pool did not take the task: whether that is the task's fault or the process', the worker goes on."""
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
