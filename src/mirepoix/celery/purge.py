"""``celery purge`` with a broker: it also cancels the tasks in the ledger, or the relay would publish them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirepoix.celery import chords
from mirepoix.ledger import operate

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation


def purging(connection: Any, installation: Installation) -> Any:
    """Let the channels of *connection* purge a queue of the broker and of the ledger. Return *connection*."""
    if installation.delivery != "broker":
        return connection
    open_channel = connection.channel

    def channel(*args: Any, **kwargs: Any) -> Any:
        made = open_channel(*args, **kwargs)
        purge = made.queue_purge

        def queue_purge(queue: str = "", *args: Any, **kwargs: Any) -> int:
            """Cancel what waits in the queue, and return how many tasks and other messages that were."""
            with installation.source.transaction() as tx:
                cancelled = operate.purge(tx, queue)
                chords.return_ended(installation, tx, cancelled, "purged")
            return max(len(cancelled), int(purge(queue, *args, **kwargs) or 0))

        made.queue_purge = queue_purge
        return made

    connection.channel = channel
    return connection
