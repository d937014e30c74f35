"""What a delivery needs of the app's installation and of the worker process: neither delivery imports them."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.ledger.tx import Tx
from mirepoix.records import Lease

if TYPE_CHECKING:
    from mirepoix.daemons.leases import Leases


class Catalog(Protocol):
    """What the app's tasks are called."""

    def current_name(self, name: str, /) -> str:
        """The name of the task that takes what was sent as *name*."""


class WorkerHost(Protocol):
    """The worker process that a delivery feeds."""

    @property
    def leases(self) -> Leases:
        """The leases of the worker."""

    @property
    def gathered(self) -> Sized:
        """The calls that tasks with a strategy of their own have gathered."""

    @property
    def broker_consumer(self) -> Any:
        """What leases the tasks that a broker notifies of; None without a broker."""

    def pool_refused(self, lease: Lease, name: str, error: Exception, /) -> None:
        """The pool did not take the task. The worker goes on."""


class Host(Protocol):
    """The installation that a delivery belongs to."""

    @property
    def app(self) -> Any:
        """The Celery app."""

    @property
    def source(self) -> Source:
        """The database of the ledger."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    @property
    def catalog(self) -> Catalog:
        """The tasks of the app."""

    @property
    def worker(self) -> WorkerHost | None:
        """The worker that this process is; None in any other process."""

    @property
    def delivery(self) -> str:
        """Who delivers: ``ledger`` or ``broker``."""

    @property
    def former_url(self) -> Any:
        """The app's own ``broker_read_url``, which the ledger took the place of."""

    @property
    def former_options(self) -> dict[str, Any]:
        """The app's own ``broker_transport_options``."""

    @property
    def sent_fence(self) -> int | None:
        """The ``sent_fence`` of an envelope that is written now."""

    def return_ended(self, tx: Tx, task_ids: Sequence[str], reason: str, /) -> None:
        """Return to their chords, within *tx*, the members that ended without running."""
