"""Celery's remote control, except that a revocation is written down: a task revoked while it waits never starts.

What is requeued is no longer revoked, whatever the workers remember.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from celery.utils.functional import maybe_list

from mirepoix.celery import chords, context
from mirepoix.ledger import operate


def durable(control_class: type) -> type:
    """*control_class* with a `revoke` that cancels or notes the tasks in the ledger before it tells the workers."""

    class LedgerControl(control_class):  # type: ignore[misc]
        def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
            attempt = context.current()
            if attempt is not None and attempt.is_making_outcome:
                # The handling of a failed chord revokes what it has failed: workers must find it failed by then.
                attempt.afterwards.append(partial(self.revoke, task_id, *args, **kwargs))
                return None
            ids = [str(one) for one in maybe_list(task_id) or ()]
            if not ids:
                return super().revoke(task_id, *args, **kwargs)
            with self.app.mirepoix.source.transaction() as tx:
                chords.return_ended(self.app.mirepoix, tx, operate.revoke(tx, ids), "revoked")
            # Workers compare texts, and JSON has no others.
            told = ids[0] if isinstance(task_id, (str, UUID)) else ids
            return super().revoke(told, *args, **kwargs)

    return LedgerControl
