"""Celery's remote control, which also records a revocation in the ledger: a task revoked while it waits never starts.

A task that is requeued is no longer revoked, even if workers still have its id in their list.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from celery.utils.functional import maybe_list

from mirepoix.celery import chords, context
from mirepoix.ledger import operate


def durable(control_class: type) -> type:
    """A subclass of *control_class* with a `revoke` that records the revocation before it is sent to the workers."""

    class LedgerControl(control_class):  # type: ignore[misc]
        def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
            attempt = context.current()
            if attempt is not None and attempt.is_making_outcome:
                # Celery revokes the tasks of a failed chord. Their failure must be committed before workers read this.
                attempt.afterwards.append(partial(self.revoke, task_id, *args, **kwargs))
                return None
            ids = [str(id) for id in maybe_list(task_id) or ()]
            if not ids:
                return super().revoke(task_id, *args, **kwargs)
            with self.app.mirepoix.source.transaction() as tx:
                chords.return_ended(self.app.mirepoix, tx, operate.revoke(tx, ids), "revoked")
            # Workers compare ids as texts, and JSON has no UUIDs.
            return super().revoke(ids[0] if isinstance(task_id, (str, UUID)) else ids, *args, **kwargs)

    return LedgerControl
