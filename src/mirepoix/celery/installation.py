"""The installation of one app: what every process of the app needs to send tasks. It is the app's ``mirepoix``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger

from mirepoix.celery import chords, context
from mirepoix.celery.senders import Senders
from mirepoix.celery.task_catalog import TaskCatalog
from mirepoix.config import Settings
from mirepoix.connect.caller import missing_table
from mirepoix.connect.source import Source
from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.connect.url import optional
from mirepoix.delivery.registry import INSTALLATIONS
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import migrate
from mirepoix.ledger.tx import Tx
from mirepoix.records import PROMISED, UNSENT, Envelope, LostTask, Outgoing

if TYPE_CHECKING:
    from mirepoix.broker.sender import Sender
    from mirepoix.celery.result_futures import ResultFutures
    from mirepoix.celery.worker_process import WorkerProcess

logger = get_logger("mirepoix.worker")


class Installation:
    """The installation of one app: its ledger, its settings and what sends its tasks. It is ``app.mirepoix``."""

    def __init__(
        self, app: Any, source: Source, given: dict[str, Any], session_factory: Callable[[], Any] | None = None
    ) -> None:
        self.app = app
        self.token = uuid.uuid4().hex
        INSTALLATIONS[self.token] = self
        self.source: Source = source
        self.session_factory = session_factory
        self._given = given
        self.worker: WorkerProcess | None = None
        """The worker of this process, or the worker whose pool forked it; None in any other process."""
        self.delivery = "ledger"
        """The setting ``delivery`` as it was when Celery loaded the app's configuration."""
        self.former_url: Any = None
        """The app's own ``broker_read_url``, before the ledger replaced it."""
        self.former_options: dict[str, Any] = {}
        """The app's own ``broker_transport_options``."""
        self.senders = Senders(app)
        self.observers: list[Callable[[Sequence[LostTask]], None]] = []
        """What is called after the commit that took tasks back from a dead process or worker."""

    @cached_property
    def settings(self) -> Settings:
        """The settings. They are read at the first access: the app is configured by then."""
        settings = self.read_settings()
        if settings.delivery != self.delivery:
            raise ConfigurationError(
                f"mirepoix_delivery was set to {settings.delivery!r} after the app was configured for "
                f"{self.delivery!r}. Set it before, or give it to mirepoix.install(delivery=...)."
            )
        return settings

    def read_settings(self) -> Settings:
        """Read the settings as they are now. Raises ConfigurationError."""
        if not self.app.configured:
            self.app.conf["broker_url"]  # loads the configuration, which a test with `in` would not do
        return Settings.read(self.app.conf, self._given)

    @cached_property
    def result_futures(self) -> ResultFutures:
        """The results that handles in this process wait for."""
        from mirepoix.celery.result_futures import ResultFutures  # only processes that wait need it

        return ResultFutures(self)

    # ---- what is sent

    @cached_property
    def sender(self) -> Sender:
        """The thread that publishes to the broker what this process committed."""
        from mirepoix.broker.sender import Sender  # only apps with a broker need it

        return Sender(self.app, self.source, self.settings)

    @property
    def sent_fence(self) -> int | None:
        """The ``sent_fence`` of an envelope that is written now."""
        return UNSENT if self.delivery == "broker" else None

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """Mark *items* as those that this process will `announce`. The relay publishes what has an eta."""
        return [
            replace(item, sent_fence=PROMISED)
            if isinstance(item, Envelope) and item.sent_fence == UNSENT and item.eta is None
            else item
            for item in items
        ]

    def announce(self, items: Iterable[Outgoing]) -> None:
        """Publish to the broker, in another thread, what this process committed.

        Never raises: the relay publishes what this could not.
        """
        try:
            if self.delivery == "broker":
                self.sender.notify([*items])
        except Exception:
            logger.exception("committed tasks could not be published here; the relay will publish them")

    @property
    def captures(self) -> bool:
        """Whether what is sent now is written into the ledger. What an attempt sends always is."""
        return self.settings.capture or context.current() is not None

    def begin(self) -> TaskTransaction:
        """Begin a transaction for a transactional task."""
        if self.session_factory is None:
            return self.source.begin()
        begun: TaskTransaction = optional("sqlalchemy", "sqlalchemy").begin(self.session_factory)
        return begun

    @property
    def passing_errors(self) -> tuple[type[Exception], ...]:
        """The errors that a transactional task's transaction raises when the database is away, busy or in conflict."""
        if self.session_factory is None:
            return self.source.disconnects
        passing: tuple[type[Exception], ...] = optional("sqlalchemy", "sqlalchemy").PASSING
        return (*self.source.disconnects, *passing)

    @cached_property
    def catalog(self) -> TaskCatalog:
        """The catalogue of the calls that the app's tasks can take."""
        return TaskCatalog(self.app)

    def notify_lost(self, lost: Sequence[LostTask]) -> None:
        """Call the observers: these tasks were taken back, and that is committed. Never raises."""
        for observer in self.observers:
            try:
                observer(lost)
            except Exception:
                logger.exception("an observer of lost tasks failed")

    def return_ended(self, tx: Tx, task_ids: Sequence[str], reason: str) -> None:
        """Count in their chords, within *tx*, the members that ended without running."""
        chords.return_ended(self, tx, task_ids, reason)

    def require_schema(self) -> None:
        """Raise SchemaError, which names the remedy, if the ledger's tables do not fit this code."""
        connection = self.source.open()
        try:
            migrate.require_current(connection, self.source.label, lambda error: missing_table(error) is not None)
        finally:
            connection.close()


def installation_of(app: Any) -> Installation:
    """The installation of *app*; ConfigurationError if there is none."""
    found = getattr(app, "mirepoix", None)
    if not isinstance(found, Installation):
        raise ConfigurationError(
            f"Mirepoix is not installed on {app!r}. Call mirepoix.install(app, 'sqlite:///tasks.db')."
        )
    return found
