"""``celery purge`` with a broker: it also cancels the tasks in the ledger, or the relay would publish them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirepoix.celery import chords
from mirepoix.delivery.private import wrap_purge
from mirepoix.ledger import operate

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation


def purging(connection: Any, installation: Installation) -> Any:
    """Let the channels of *connection* purge a queue of the broker and of the ledger. Return *connection*."""
    if installation.delivery != "broker":
        return connection

    def queue_purge(purge: Callable[..., Any], queue: str = "", *args: Any, **kwargs: Any) -> int:
        """Cancel what waits in the queue, and return how many tasks and other messages that were."""
        with installation.source.transaction() as tx:
            cancelled = operate.purge(tx, queue)
            chords.return_ended(installation, tx, cancelled, "purged")
        return max(len(cancelled), int(purge(queue, *args, **kwargs) or 0))

    wrap_purge(connection, queue_purge)
    return connection
