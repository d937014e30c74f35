"""Install Mirepoix on a Celery app: one call, before or after its tasks are defined."""

from __future__ import annotations

import os
import platform
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

from celery.app.backends import BACKEND_ALIASES
from celery.utils.log import get_logger

from mirepoix.alerts.thread import AlertThread
from mirepoix.broker.former import OURS
from mirepoix.broker.relay import Relay
from mirepoix.broker.sender import Sender
from mirepoix.celery import chords, context, errbacks, outcome
from mirepoix.celery.bootsteps import HoldLeases
from mirepoix.celery.capture import PublishScope, capturing
from mirepoix.celery.control import durable
from mirepoix.celery.gathering import Gathered
from mirepoix.celery.meter import Meter
from mirepoix.celery.result_futures import ResultFutures
from mirepoix.celery.scarcity import Scarcity
from mirepoix.celery.senders import Senders
from mirepoix.celery.task import adopt, adopting
from mirepoix.celery.task_catalog import TaskCatalog
from mirepoix.config import Settings
from mirepoix.connect.caller import missing_table
from mirepoix.connect.source import BOUND_S, OwnConnection, Source
from mirepoix.connect.task_transaction import TaskTransaction
from mirepoix.connect.url import optional, source_for
from mirepoix.daemons import process
from mirepoix.daemons.holder import Holder
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.errors import ConfigurationError
from mirepoix.kombu.transport import INSTALLATIONS
from mirepoix.ledger import migrate
from mirepoix.protocol.options import check_call
from mirepoix.records import PROMISED, UNSENT, AttemptFailure, Envelope, Lease, Outgoing, RelayRole, Worker

logger = get_logger("mirepoix.worker")

BACKEND_ALIASES.setdefault("mirepoix", "mirepoix.celery.backend:LedgerBackend")

LEDGER_URL = OURS
"""What stands in the place of a broker's URL."""

LEDGER_BACKEND = "mirepoix://"
"""The result backend of an app that names none: results in the ledger."""


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
        self.holder: Holder | None = None
        self.broker_consumer: Any = None
        """What takes leases for the broker's messages, in a worker."""
        self.delivery = "ledger"
        """Who delivers, as the app was configured when it was configured."""
        self.former_url: Any = None
        """The app's own ``broker_read_url``, which the ledger took the place of."""
        self.former_options: dict[str, Any] = {}
        """The app's own ``broker_transport_options``."""
        self.gathered = Gathered()
        """The calls that tasks with a strategy of their own have gathered, in a worker."""
        self.senders = Senders(app)
        self.peaks: dict[tuple[str, int], int] = {}
        self.is_forking = False
        self._pid = os.getpid()
        self._maintenance: Maintenance | None = None
        self._relay: Relay | None = None
        self._alert_thread: AlertThread | None = None
        self._connection: OwnConnection | None = None

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
        return ResultFutures(self)

    # ---- what is sent

    @cached_property
    def sender(self) -> Sender:
        """What publishes to the broker what this process has committed."""
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

    @cached_property
    def meter(self) -> Meter:
        """Peak memory of pool processes."""
        return Meter()

    @cached_property
    def scarcity(self) -> Scarcity:
        """Whether the database refuses connections to processes of this worker."""
        return Scarcity()

    def spare_connections(self) -> None:
        """Let others of the pool have this process' connection, if the database has none for them."""
        if self.is_pool_process and self.scarcity.is_noted:
            self.source.close()

    # ---- the worker process

    def begin_worker(
        self,
        name: str,
        *,
        pool: str,
        is_forking: bool,
        concurrency: int,
        queues: tuple[str, ...],
        relay_role: RelayRole | None = None,
    ) -> None:
        """Register this process as a worker, waiting for a database that is away. Called before its pool forks."""
        self._work_at(self.settings.worker_url)
        self.source.name_sessions(name)
        self._until_reached(self.source.require_sessions)
        self._until_reached(self.require_schema)
        self.meter, self.scarcity  # noqa: B018  (made before the fork, so that they are shared)
        software = {
            "mirepoix": version("mirepoix"),
            "celery": version("celery"),
            "kombu": version("kombu"),
            "python": platform.python_version(),
        }
        if relay_role is None:
            is_relaying = self.settings.has_broker and self.settings.relay
            relay_role = RelayRole.WORKER if is_relaying else RelayRole.NONE
        worker = Worker(
            "", name, socket.gethostname(), os.getpid(), pool, concurrency, queues, software, relay_role, process.own()
        )
        self._pid = os.getpid()
        self.is_forking = is_forking
        self.holder = Holder(
            self.source,
            self.settings,
            worker,
            lambda tx, parts, refused: chords.return_parts(self, tx, parts, refused=refused),
            partial(chords.return_ended, self),
            self.catalog.can_take,
            partial(outcome.refuse_completion, self),
            partial(errbacks.send_errbacks, self),
        )
        self._until_reached(self.holder.register)

    def _work_at(self, url: str | None) -> None:
        """Leave the pooler to those who only send."""
        if url is None:
            return
        other = source_for(url)
        if other.dialect != self.source.dialect:
            raise ConfigurationError(
                f"mirepoix_worker_url leads to {other.label}, and the ledger is in {self.source.label}: it must be the "
                "same database."
            )
        self.source.work_at(url)

    def _until_reached(self, act: Callable[[], None]) -> None:
        pause_s = 0.5
        while True:
            try:
                act()
            except self.source.disconnects as error:
                logger.warning(
                    "the ledger in %s cannot be reached, trying again in %.1f s: %s",
                    self.source.label,
                    pause_s,
                    str(error).strip().splitlines()[0],
                )
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)
            else:
                return

    def start_maintenance(self, on_tick: Callable[[], None]) -> None:
        """Start the thread that keeps this worker alive in the ledger."""
        if self.holder is None:
            raise ConfigurationError("The worker was not registered: its steps ran out of order.")
        self._maintenance = Maintenance(self.holder, on_tick)
        self._maintenance.start()

    def start_relay(self, on_round: Callable[[OwnConnection], None]) -> Relay:
        """Start the thread that publishes what waits for the broker, whenever this worker is the one that does."""
        self._relay = Relay(self, lambda: None if self.holder is None else self.holder.worker.id, on_round)
        self._relay.start()
        return self._relay

    def start_watcher(self) -> None:
        """Start the thread that looks for what people should hear, if the settings say who hears it."""
        if self.settings.alerts:
            identity = lambda: None if self.holder is None else self.holder.worker.id  # noqa: E731
            self._alert_thread = AlertThread(self.source, self.settings, identity)
            self._alert_thread.start()

    def end_worker(self) -> None:
        """The pool is gone: hand back what is left and sign off."""
        if self.holder is None or self._pid != os.getpid():
            return
        holder, self.holder = self.holder, None
        if self._alert_thread is not None:
            self._alert_thread.stop()
        if self._relay is not None:
            self._relay.stop()
        if self._maintenance is not None:
            self._maintenance.stop()
        try:
            holder.close()
        except self.source.errors as error:
            # The others find the lock free and take back what was held.
            logger.warning("the worker could not sign off: %s", str(error).strip())
        self.source.close()

    def may_run(self, lease: Lease) -> bool:
        """Whether this process may run the attempt. Pool processes, which hold no leases, are trusted."""
        if self.holder is None or self._pid != os.getpid():
            return True
        return self.holder.holds(lease.key)

    def may_begin(self, lease: Lease) -> bool:
        """Whether the worker may give the attempt to its pool: not what is about to be handed back."""
        return self.holder is not None and self.holder.may_begin(lease.key)

    @property
    def is_pool_process(self) -> bool:
        """Whether this process was forked by a worker's pool."""
        return self.is_forking and self._pid != os.getpid()

    def peak_of(self, lease: Lease | None) -> int | None:
        """The last known peak memory of an attempt's process: as it was seen from outside, or when it began."""
        if lease is None:
            return None
        held = None if self.holder is None else self.holder.lease_of(lease.key)
        return self.peaks.get(lease.key) or (None if held is None else self.meter.read(held.pid))

    def lost(self, lease: Lease, failure: AttemptFailure, *, outcome: str, delay_s: float = 0.0) -> None:
        """Tell the ledger, from the worker's loop, of an attempt whose process died or that was rejected.

        If the database is away, the maintenance thread tells it when it is back.
        """
        holder = self.holder
        if holder is None:
            return
        holder.lost(lease.key, failure, outcome=outcome, delay_s=delay_s)
        try:
            if self._connection is None:
                self._connection = self.source.open(BOUND_S)
            holder.report_losses(self._connection)
        except self.source.errors:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def require_schema(self) -> None:
        """Raise SchemaError, naming the remedy, if the ledger's tables are not what this code needs."""
        connection = self.source.open()
        try:
            migrate.require_current(connection, self.source.label, lambda error: missing_table(error) is not None)
        finally:
            connection.close()


def install(
    app: Any, url: str | None = None, *, session_factory: Callable[[], Any] | None = None, **settings: Any
) -> Installation:
    """Make *app* reliable: every task it sends, by any API of Celery, is a row in the ledger at *url*.

    The ledger delivers the tasks itself; no broker is needed, and ``broker_url`` is not used. A worker that starts only
    looks whether messages still wait there (``look_at_broker``). With ``delivery="broker"`` the app keeps its broker,
    which only notifies workers of tasks that are in the ledger. An SQLite ledger is created and migrated here; for
    PostgreSQL and MariaDB run ``mirepoix --app YOUR_APP migrate`` once for each release.
    Without *url* the ledger is in Django's database (``mirepoix_django_alias``).

    *session_factory* (an SQLAlchemy ``sessionmaker``, ``scoped_session`` or ``Engine`` of the ledger's database) is
    what transactional tasks write with: see `mirepoix.transaction`.

    *settings* are those of `mirepoix.config.Settings`. Raises ConfigurationError for what cannot work.
    """
    if getattr(app, "mirepoix", None) is not None:
        raise ConfigurationError(f"Mirepoix is installed on {app!r} already, with {app.mirepoix.source.label}.")
    unknown = sorted(set(settings) - {f.name for f in fields(Settings)})
    if unknown:
        Settings.read({}, settings)
    source = source_for(url) if url is not None else _django_source(settings)
    if url is not None and source.dialect == "sqlite":
        connection = source.open()
        try:
            migrate.migrate(connection)
        finally:
            connection.close()
    installation = app.mirepoix = Installation(app, source, settings, session_factory)
    _configure(app, installation)
    _capture(app, installation)
    chords.add_tasks(app)
    errbacks.add_tasks(app)
    return installation


def installation_of(app: Any) -> Installation:
    """The installation of *app*; ConfigurationError if there is none."""
    found = getattr(app, "mirepoix", None)
    if not isinstance(found, Installation):
        raise ConfigurationError(
            f"Mirepoix is not installed on {app!r}. Call mirepoix.install(app, 'sqlite:///tasks.db')."
        )
    return found


def _django_source(settings: dict[str, Any]) -> Source:
    if "django_alias" in settings:
        raise ConfigurationError(
            "Name the ledger's database in Django's settings (CELERY_MIREPOIX_DJANGO_ALIAS = 'alias'), not in "
            "mirepoix.install(): the migrations read it there."
        )
    try:
        source: Source = optional("django", "django").DjangoSource()
    except ConfigurationError as error:
        raise ConfigurationError(
            "mirepoix.install() was given no URL and Django is not installed. Pass one: "
            "mirepoix.install(app, 'sqlite:///tasks.db')."
        ) from error
    return source


def _configure(app: Any, installation: Installation) -> None:
    defaults = {
        "broker_connection_retry_on_startup": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }
    forced = {"worker_consumer": "mirepoix.celery.consumer:LedgerConsumer"}
    by_delivery: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "ledger": (
            {"worker_prefetch_multiplier": 1, "broker_connection_max_retries": None},
            {
                "broker_read_url": LEDGER_URL,
                "broker_write_url": LEDGER_URL,
                "broker_transport_options": {"ledger": installation.token},
            },
        ),
        # Tasks that run on over a lost connection are acknowledged already: they take no place in the new one's
        # prefetch. And a worker never gives up a broker that is away.
        "broker": ({"worker_enable_prefetch_count_reduction": False, "broker_connection_max_retries": None}, {}),
    }

    def configure(**_: Any) -> None:
        installation.delivery = installation.read_settings().delivery
        own_defaults, own_forced = by_delivery[installation.delivery]
        app.conf.add_defaults({**defaults, **own_defaults})
        if installation.delivery == "ledger":
            _replace_broker(app, installation)
        _go_before_environment(app.conf, installation)
        for key, value in {**forced, **own_forced}.items():
            setattr(app.conf, key, value)

    # Fired each time the configuration is loaded, so that the order of install() and config_from_object() is free.
    app.on_after_configure.connect(configure, weak=False)
    app.on_after_configure.connect(_choose_backend, sender=app, weak=False)
    _go_before_environment(app.conf, installation)
    if app.configured:
        configure()
        _choose_backend(app)


def _replace_broker(app: Any, installation: Installation) -> None:
    """Note where the app's broker was."""
    if app.conf.get("broker_read_url") != LEDGER_URL:
        installation.former_url = app.conf.get("broker_read_url")
        installation.former_options = dict(app.conf.get("broker_transport_options") or {})


def _go_before_environment(conf: Any, installation: Installation) -> None:
    """Let no variable of the environment, which goes before every setting of Celery, go before the ledger's URL."""
    cls = type(conf)
    if not {"CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"} & os.environ.keys() or hasattr(cls, "ledger"):
        return

    def property_of(name: str) -> Any:
        def get(self: Any) -> Any:
            self.get("broker_url")  # the configuration is loaded by that, and tells who delivers
            return LEDGER_URL if installation.delivery == "ledger" else getattr(cls, name).fget(self)

        return property(get)

    names = {name: property_of(name) for name in ("broker_read_url", "broker_write_url")}
    object.__setattr__(conf, "__class__", type(cls.__name__, (cls,), {**names, "ledger": installation.token}))


def _choose_backend(sender: Any, **_: Any) -> None:
    """Keep results in the ledger, unless the app names a backend of its own."""
    if not sender.conf.result_backend and not sender.backend_cls:
        sender.conf.result_backend = LEDGER_BACKEND


def _capture(app: Any, installation: Installation) -> None:
    app.amqp_cls = capturing(_imported(app.amqp_cls))
    app.control_cls = durable(_imported(app.control_cls))
    for made in ("amqp", "control"):
        app.__dict__.pop(made, None)
    app.producer_or_acquire = PublishScope(installation)
    app.send_task = partial(_send_task, app)
    app.steps["worker"].add(HoldLeases)

    # A task may be registered long after the app was finalized, with a base class of its author's own.
    registry = app._tasks  # noqa: SLF001
    registry.__class__ = adopting(type(registry))
    for task in registry.values():
        adopt(task)


def _send_task(app: Any, *args: Any, task_id: Any = None, **options: Any) -> Any:
    """Celery's, and the id may be a UUID: in the ledger it is a text, so it is one in the result too."""
    check_call(args[0] if args else options.get("name"), options)
    id = str(task_id) if isinstance(task_id, uuid.UUID) else task_id
    return type(app).send_task(app, *args, task_id=id, **options)


def _imported(cls: Any) -> Any:
    from celery.utils.imports import symbol_by_name

    return symbol_by_name(cls)
