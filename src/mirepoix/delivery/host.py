"""What a delivery needs from the installation and the worker process. A delivery imports these protocols instead."""

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
    """The names of the app's tasks."""

    def current_name(self, name: str, /) -> str:
        """The name of the task that takes payloads sent as *name*."""


class WorkerHost(Protocol):
    """The worker process that a delivery feeds."""

    @property
    def leases(self) -> Leases:
        """The leases of the worker."""

    @property
    def gathered(self) -> Sized:
        """The calls that are gathered to run together, by tasks that have a strategy of their own."""

    @property
    def lane(self) -> Any:
        """The short way of rows into the direct pool; None with any other pool."""

    @property
    def broker_consumer(self) -> Any:
        """Leases the tasks that the broker sends notifications for; None without a broker."""

    def pool_refused(self, lease: Lease, name: str, error: Exception, /) -> None:
        """Park the task or give it back, since the pool did not take it."""


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
        """The worker of this process; None in any other process."""

    @property
    def delivery(self) -> str:
        """What delivers the tasks: ``ledger`` or ``broker``."""

    @property
    def former_url(self) -> Any:
        """The app's own ``broker_read_url``, before the ledger replaced it."""

    @property
    def former_options(self) -> dict[str, Any]:
        """The app's own ``broker_transport_options``."""

    @property
    def sent_fence(self) -> int | None:
        """The ``sent_fence`` of an envelope that is written now."""

    def return_ended(self, tx: Tx, task_ids: Sequence[str], reason: str, /) -> None:
        """Count in their chords, within *tx*, the members that ended without running."""
