"""Install Mirepoix on a Celery app: one call, before or after its tasks are defined."""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from celery import signals
from celery.app.backends import BACKEND_ALIASES
from celery.utils.log import get_logger

from mirepoix.celery import chords, errbacks, private, queue_probes
from mirepoix.celery.capture import PublishScope, capturing
from mirepoix.celery.control import durable
from mirepoix.celery.installation import Installation
from mirepoix.celery.pool.names import register
from mirepoix.celery.task import adopt, adopting
from mirepoix.config import Settings
from mirepoix.connect.source import Source
from mirepoix.connect.url import optional, source_for
from mirepoix.delivery.registry import LEDGER_URL
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import migrate
from mirepoix.protocol.options import check_call

logger = get_logger("mirepoix.worker")

BACKEND_ALIASES.setdefault("mirepoix", "mirepoix.celery.backend:LedgerBackend")
register()

LEDGER_BACKEND = "mirepoix://"
"""The result backend of an app that names none: results in the ledger."""


def install(
    app: Any, url: str | None = None, *, session_factory: Callable[[], Any] | None = None, **settings: Any
) -> Installation:
    """Make *app* reliable: every task it sends, by any API of Celery, is a row in the ledger at *url*.

    The ledger delivers the tasks itself. No broker is needed, and ``broker_url`` is not used: a worker only checks at
    its start whether messages still wait there (``look_at_broker``). With ``delivery="broker"`` the app keeps its
    broker, which notifies workers of tasks that are in the ledger. An SQLite ledger is created and migrated here. For
    PostgreSQL and MariaDB run ``mirepoix --app YOUR_APP migrate`` once for each release.
    Without *url* the ledger is in Django's database (``mirepoix_django_alias``).

    Transactional tasks write with *session_factory*: an SQLAlchemy ``sessionmaker``, ``scoped_session`` or ``Engine``
    of the ledger's database. See `mirepoix.transaction`.

    *settings* are those of `mirepoix.config.Settings`. Raises ConfigurationError for a configuration that cannot work.
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
    queue_probes.add_tasks(app)
    _look_at_beat(app)
    return installation


def _look_at_beat(app: Any) -> None:
    """Warn when an ordinary beat starts beside workers that fire the same schedules."""
    known = weakref.ref(app)  # the signal would keep the app, and its sessions

    def begin(sender: Any, **_: Any) -> None:
        from mirepoix.celery.scheduling import warn_of_beat  # only a beat needs it

        if (app := known()) is not None:
            warn_of_beat(app, sender)

    signals.beat_init.connect(begin, weak=False)


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
        # A task that still runs after its connection was lost is acknowledged already. It takes no place in the
        # prefetch of the new connection. And a worker never gives up on a broker that is away.
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

    # The signal fires each time the configuration is loaded, so install() and config_from_object() go in any order.
    app.on_after_configure.connect(configure, weak=False)
    app.on_after_configure.connect(_choose_backend, sender=app, weak=False)
    _go_before_environment(app.conf, installation)
    if app.configured:
        configure()
        _choose_backend(app)


def _replace_broker(app: Any, installation: Installation) -> None:
    """Remember the app's broker."""
    if app.conf.get("broker_read_url") != LEDGER_URL:
        installation.former_url = app.conf.get("broker_read_url")
        installation.former_options = dict(app.conf.get("broker_transport_options") or {})


def _go_before_environment(conf: Any, installation: Installation) -> None:
    """Give the ledger's URL precedence over Celery's environment variables, which override every setting."""
    cls = type(conf)
    if not {"CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"} & os.environ.keys() or hasattr(cls, "ledger"):
        return

    def property_of(name: str) -> Any:
        def get(self: Any) -> Any:
            self.get("broker_url")  # loads the configuration, which sets `delivery`
            return LEDGER_URL if installation.delivery == "ledger" else getattr(cls, name).fget(self)

        return property(get)

    names = {name: property_of(name) for name in ("broker_read_url", "broker_write_url")}
    private.subclass_configuration(conf, {**names, "ledger": installation.token})


def _choose_backend(sender: Any, **_: Any) -> None:
    """Store results in the ledger, unless the app names a backend of its own."""
    if not sender.conf.result_backend and not sender.backend_cls:
        sender.conf.result_backend = LEDGER_BACKEND


def _capture(app: Any, installation: Installation) -> None:
    app.amqp_cls = capturing(_imported(app.amqp_cls))
    app.control_cls = partial(_make_control, app.control_cls)
    private.forget_made(app, "amqp", "control")
    private.replace_producer_or_acquire(app, PublishScope(installation))
    private.replace_send_task(app, partial(_send_task, app))
    app.steps["worker"].add("mirepoix.celery.bootsteps:HoldLeases")

    # A task may be registered long after the app was finalized, with a base class of its author.
    private.subclass_registry(app, adopting)
    for task in private.unfinalized_tasks(app).values():
        adopt(task)


def _send_task(app: Any, *args: Any, task_id: Any = None, **options: Any) -> Any:
    """Send a task as Celery does. An id that is a UUID becomes a text, in the ledger and in the result."""
    check_call(args[0] if args else options.get("name"), options)
    id = str(task_id) if isinstance(task_id, uuid.UUID) else task_id
    return type(app).send_task(app, *args, task_id=id, **options)


def _make_control(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Make ``app.control`` when it is first used: its module is slow to import, and few senders need it."""
    return durable(_imported(cls))(*args, **kwargs)


def _imported(cls: Any) -> Any:
    from celery.utils.imports import symbol_by_name

    return symbol_by_name(cls)
