"""One app's installation: the client's core, which every process of the app has. It is the app's ``mirepoix``."""

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
from mirepoix.records import PROMISED, UNSENT, Envelope, Outgoing

if TYPE_CHECKING:
    from mirepoix.broker.sender import Sender
    from mirepoix.celery.result_futures import ResultFutures
    from mirepoix.celery.worker_process import WorkerProcess

logger = get_logger("mirepoix.worker")


class Installation:
    """What one app's installation consists of. It is the app's attribute ``mirepoix``."""

    def __init__(
        self, app: Any, source: Source, given: dict[str, Any], session_factory: Callable[[], Any] | None = None
    ) -> None:
        self.app = app
        self.token = uuid.uuid4().hex
        INSTALLATIONS[self.token] = self
        self.source = source
        self.session_factory = session_factory
        self._given = given
        self.worker: WorkerProcess | None = None
        """The worker that this process is, or that its pool's process was forked by; None in any other process."""
        self.delivery = "ledger"
        """Who delivers, as the app was configured when it was configured."""
        self.former_url: Any = None
        """The app's own ``broker_read_url``, which the ledger took the place of."""
        self.former_options: dict[str, Any] = {}
        """The app's own ``broker_transport_options``."""
        self.senders = Senders(app)

    @cached_property
    def settings(self) -> Settings:
        """The settings, read when they are first needed: the app is configured by then."""
        settings = self.read_settings()
        if settings.delivery != self.delivery:
            raise ConfigurationError(
                f"mirepoix_delivery was set to {settings.delivery!r} after the app was configured for "
                f"{self.delivery!r}. Set it before, or give it to mirepoix.install(delivery=...)."
            )
        return settings

    def read_settings(self) -> Settings:
        """The settings as they are now. Raises ConfigurationError."""
        if not self.app.configured:
            self.app.conf["broker_url"]  # asking whether a name is in it would not load it
        return Settings.read(self.app.conf, self._given)

    @cached_property
    def result_futures(self) -> ResultFutures:
        """What this process waits for by handles."""
        from mirepoix.celery.result_futures import ResultFutures  # only processes that wait need it

        return ResultFutures(self)

    # ---- what is sent

    @cached_property
    def sender(self) -> Sender:
        """What publishes to the broker what this process has committed."""
        from mirepoix.broker.sender import Sender  # only apps with a broker need it

        return Sender(self.app, self.source, self.settings)

    @property
    def sent_fence(self) -> int | None:
        """That of an envelope that is written now."""
        return UNSENT if self.delivery == "broker" else None

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """*items* as they are written by a process that will `announce` them; what has an eta the relay publishes."""
        return [
            replace(item, sent_fence=PROMISED)
            if isinstance(item, Envelope) and item.sent_fence == UNSENT and item.eta is None
            else item
            for item in items
        ]

    def announce(self, items: Iterable[Outgoing]) -> None:
        """Tell the broker of what this process has committed, by the side.

        Never raises: the relay tells it otherwise.
        """
        try:
            if self.delivery == "broker":
                self.sender.notify([*items])
        except Exception:
            logger.exception("what was committed is left to the relay to publish")

    @property
    def captures(self) -> bool:
        """Whether what is sent now is written into the ledger; an attempt's always is."""
        return self.settings.capture or context.current() is not None

    def begin(self) -> TaskTransaction:
        """A transaction for a transactional task."""
        if self.session_factory is None:
            return self.source.begin()
        begun: TaskTransaction = optional("sqlalchemy", "sqlalchemy").begin(self.session_factory)
        return begun

    @property
    def passing_errors(self) -> tuple[type[Exception], ...]:
        """What transactions of transactional tasks raise when the database is away, too busy or in a conflict."""
        if self.session_factory is None:
            return self.source.disconnects
        passing: tuple[type[Exception], ...] = optional("sqlalchemy", "sqlalchemy").PASSING
        return (*self.source.disconnects, *passing)

    @cached_property
    def catalog(self) -> TaskCatalog:
        """What the app's tasks can take."""
        return TaskCatalog(self.app)

    def return_ended(self, tx: Tx, task_ids: Sequence[str], reason: str) -> None:
        """Return to their chords, within *tx*, the members that ended without running."""
        chords.return_ended(self, tx, task_ids, reason)

    def require_schema(self) -> None:
        """Raise SchemaError, naming the remedy, if the ledger's tables are not what this code needs."""
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
