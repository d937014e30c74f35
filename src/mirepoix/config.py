"""Every setting of Mirepoix, with its default and its unit.

Give a setting to ``mirepoix.install(app, url, lease_ttl_s=30)``, or set ``mirepoix_lease_ttl_s`` in the Celery
configuration (in Django: ``CELERY_MIREPOIX_LEASE_TTL_S``). The argument of ``install`` wins.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mirepoix.addresses import parse
from mirepoix.errors import ConfigurationError
from mirepoix.retries.policy import RetryPolicy, policy_of

_CHOICES = {
    "delivery": ("ledger", "broker"),
    "foreign_tasks": ("run", "adopt"),
    "stalled_worker": ("report", "exit"),
    "asyncio_sync_tasks": ("threads", "refuse"),
}

MOST_AHEAD = 500
"""The most tasks that a worker leases ahead of running them; it leases about what it can run in 0.1 s."""

FLUSH_AFTER_S = 0.02
"""Successes that send nothing are recorded together, at the latest after this time."""

SQLITE_LOOK_S = 0.01
"""How often an idle worker checks whether the SQLite file changed, where the system has no inotify."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation. Durations are in seconds."""

    lease_ttl_s: float = 15.0
    """A worker that sends no heartbeat for so long is declared dead. This detects lost hosts and frozen processes. A
    process that has died is detected in about a second, whatever this setting is. A task may run for days."""

    liveness_interval_s: float = 0.2
    """How often each worker looks for dead workers, with a cheap statement (SQLite: a system call). If there are many
    workers, each looks less often, but at least every 2 seconds."""

    max_deaths: int = 3
    """A task that killed so many processes or workers is quarantined. ``docs/design/fencing.md`` explains blame."""

    max_handovers: int = 10
    """A task that was handed out so often, and was lost or rejected each time without blame, is quarantined."""

    poll_interval_s: float = 1.0
    """How often an idle worker asks for tasks without a notification. This limits the delay after a lost
    notification."""

    mysql_poll_interval_s: float = 0.01
    """How often an idle worker looks for tasks in MariaDB or MySQL, which send no notification. Each look takes about
    0.1 ms."""

    payload_limit_bytes: int = 1_048_576
    """The largest message body, in bytes of serialised arguments. Sending a larger one raises `PayloadTooLarge`."""

    retention_s: float | None = 7 * 24 * 3600.0
    """Succeeded, cancelled and expired tasks are pruned after so long; ``None`` keeps them. Failed, quarantined and
    parked tasks are never pruned automatically."""

    key_retention_s: float | None = 24 * 3600.0
    """A key of `mirepoix.submit_once` can be used again so long after its task was pruned. ``None`` keeps keys for
    ever."""

    failure_retention_s: float | None = 90 * 24 * 3600.0
    """A failure group is deleted when nothing has failed in it for so long and no task belongs to it; ``None`` keeps
    it. Ignored groups are kept."""

    parked_failure_after_s: float = 3.0
    """The result of a parked task is FAILURE after so long. Until then callers wait for a worker with fitting code. If
    the task is resumed later, its result is the real one."""

    prune_interval_s: float = 60.0
    """How often each worker prunes, at most 5,000 tasks a time."""

    delivery: str = "ledger"
    """How workers get tasks. ``ledger``: they take tasks from the database, and there is no broker. ``broker``: the
    app's own ``broker_url`` notifies workers of each task; lost and repeated messages do no harm."""

    capture: bool = True
    """Off: the app sends to its broker as Celery does, and only workers use the ledger. This is the first of the two
    deploys that move a running system in (``docs/how-to/broker.md``). Only with ``delivery="broker"``."""

    foreign_tasks: str = "run"
    """What a worker does with a message of a task that is not in the ledger (sent by other programs, or before the
    installation). ``run``: run it as Celery does. ``adopt``: write it into the ledger, then acknowledge it."""

    look_at_broker: bool = True
    """Whether starting workers, ``mirepoix status`` and Django's checks look for messages that still wait in the app's
    ``broker_url``, which it used before the ledger. Only with ``delivery="ledger"``."""

    relay: bool = True
    """Whether this app's workers publish what its senders could not; one worker of all does it. Turn it off where
    ``celery -A app mirepoix relay`` runs."""

    relay_grace_s: float = 1.0
    """How long a sender has to publish a committed task before the relay does."""

    resend_after_s: float = 30.0
    """A task with a message that no worker took for so long is published again, if the broker has fewer messages than
    the ledger expects. If other tasks of its queue wait longer, the limit is three times their wait."""

    broker_retry_s: float = 1.0
    """How often senders, relays and workers try to reach a broker that is down."""

    probe_interval_s: float = 30.0
    """How often probes go through each queue to detect stalled workers; 0 sends none."""

    queue_probe_interval_s: float = 0.0
    """How often a worker sends a probe through each of its queues: a task that does nothing. `mirepoix metrics` exports
    how long it took, and `mirepoix health` reports a probe that does not run. 0 sends none."""

    stalled_worker: str = "report"
    """What a worker does when it is stalled: connected, and receiving neither tasks nor probes for a third probe
    interval. ``report``: it logs that, and ``mirepoix health`` reports it. ``exit``: it also ends with exit code 1, so
    that its supervisor starts another."""

    schedules: bool = False
    """Whether workers fire the schedules of the ledger: ``beat_schedule``, the tasks with a ``schedule``, and those
    that people add. Then run no ``celery beat``, or one with ``-S mirepoix.schedulers:LedgerScheduler``."""

    schedule_retention_s: float | None = 90 * 24 * 3600.0
    """The decisions about fire times of schedules are deleted after so long; ``None`` keeps them."""

    global_rate_limits: bool = False
    """Whether Celery's ``rate_limit`` of a task counts over all workers, as a limit of the ledger. Otherwise each
    worker counts by itself, as in Celery."""

    release: str | None = None
    """The version of your code. It is stored with every failure, and distinguishes a regression in a new release from a
    failure in an old worker. The default is the environment variable ``MIREPOIX_RELEASE``."""

    alerts: tuple[str, ...] = ()
    """The channels for alerts: ``logging``, ``mail_admins`` (Django), ``sentry``, an ``https://`` webhook,
    ``mailto:oncall@example.com?via=smtp://host:25``, or the path of a function that takes an `Alert`. Without channels,
    workers check no conditions."""

    alerts_interval_s: float = 15.0
    """How often one of the workers, or ``mirepoix alerts --watch``, checks the conditions for alerts."""

    alerts_grace_s: float = 30.0
    """Conditions that may end by themselves (no worker is alive, tasks are parked) are alerted only if they last
    longer."""

    alerts_per_hour: int = 20
    """The most single alerts for one channel in an hour. The others become a summary."""

    alerts_secret: str | None = field(default=None, repr=False)
    """The key that signs webhooks: ``Mirepoix-Signature: sha256=`` and the HMAC of the body."""

    alerts_base_url: str | None = None
    """The address of Django's admin (``https://shop.example/admin/``), for links in alerts to the failure group or to
    one of the tasks."""

    queue_objectives_s: Mapping[str, float] | None = None
    """How long the oldest ready task of each queue may wait before there is an alert: ``{"default": 60}``; ``*`` stands
    for every other queue."""

    retries: RetryPolicy | None = None
    """How tasks that raise are retried: a ``mirepoix.RetryPolicy``, or a mapping of its arguments.
    ``@app.task(retries=...)`` wins. ``None``: only as each task asks Celery to."""

    asyncio_processes: int = 1
    """How many processes a worker with ``-P mirepoix-asyncio`` has. Each runs up to ``-c`` tasks at once."""

    asyncio_sync_tasks: str = "threads"
    """What ``-P mirepoix-asyncio`` does with a task that is no ``async def``. ``threads``: run it in a thread of its
    own. ``refuse``: park it, with an error that names this setting."""

    asyncio_blocked_report_s: float = 1.0
    """A worker with ``-P mirepoix-asyncio`` logs which task and which line block the event loop of a process for so
    long."""

    asyncio_blocked_limit_s: float | None = 60.0
    """A process of ``-P mirepoix-asyncio`` is replaced when its event loop has been blocked for so long. The task that
    blocked it is blamed, and the others run again. ``None``: never."""

    worker_url: str | None = field(default=None, repr=False)
    """The ledger's URL for workers, if senders use a pooler that gives each transaction another session, such as
    pgbouncer with ``pool_mode = transaction``. Workers need their own sessions and refuse to start on such a pooler.
    Tasks in Django still use Django's connections. ``None``: workers use the same URL as senders."""

    django_alias: str = "default"
    """With Django: the alias of the ledger's database. Set it in Django's settings, because the migrations read it
    there."""

    django_app: str = ""
    """With Django: the Celery app, as ``celery -A`` takes it, if it is not in the celery module of the project's
    package. Set it in Django's settings: the checks, the admin and ``manage.py mirepoix`` read it there."""

    dashboard_users: Mapping[str, str] | None = field(default=None, repr=False)
    """Who may use the dashboard: by name the roles (``view``, ``arguments``, ``act``, ``administer``) and a hash of the
    password, ``{"ana": "act,arguments scrypt$..."}``. ``mirepoix dashboard --hash-password`` makes the hash. A user who
    comes through a proxy needs none; ``*`` stands for every other name of the proxy."""

    dashboard_secret: str | None = field(default=None, repr=False)
    """The key that signs the sessions of the dashboard. ``None``: a new key in each process, so a restart ends every
    session."""

    dashboard_proxy_header: str | None = None
    """The header in which a trusted proxy names the user: ``X-Forwarded-User``."""

    dashboard_trusted_proxies: tuple[str, ...] = ()
    """The addresses or networks of the proxies that may name users, schemes and hosts: ``("10.0.0.5",)``."""

    dashboard_hide: tuple[str, ...] = ()
    """Globs of further names of arguments that the dashboard hides: ``("*salary*",)``. Names such as ``*password*``,
    ``*token*`` and ``*card*`` are always hidden."""

    def look_interval_s(self, dialect: str) -> float:
        """How often an idle worker looks for tasks in a database that sends no notifications."""
        return self.mysql_poll_interval_s if dialect == "mysql" else SQLITE_LOOK_S

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", policy_of(self.retries, "mirepoix_retries"))
        intervals = ("liveness_interval_s", "poll_interval_s", "mysql_poll_interval_s")
        for name in ("lease_ttl_s", "broker_retry_s", "resend_after_s", "asyncio_blocked_report_s", *intervals):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"mirepoix_{name} must be above 0, not {getattr(self, name)!r}.")
        for name in ("max_deaths", "max_handovers", "payload_limit_bytes", "asyncio_processes"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"mirepoix_{name} must be at least 1, not {getattr(self, name)!r}.")
        for name in ("relay_grace_s", "probe_interval_s", "queue_probe_interval_s", "parked_failure_after_s"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"mirepoix_{name} must be 0 or more, not {getattr(self, name)!r}.")
        self._check_blocked_limit()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(
                    f"mirepoix_{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}."
                )
        self._check_alerts()
        if not self.capture and not self.has_broker:
            raise ConfigurationError(
                "mirepoix_capture is off, so tasks need a broker, and there is none. Set mirepoix_delivery='broker'."
            )

    def _check_blocked_limit(self) -> None:
        if self.asyncio_blocked_limit_s is not None and self.asyncio_blocked_limit_s <= self.asyncio_blocked_report_s:
            raise ConfigurationError(
                "mirepoix_asyncio_blocked_limit_s must be above mirepoix_asyncio_blocked_report_s "
                f"({self.asyncio_blocked_report_s!r}), not {self.asyncio_blocked_limit_s!r}. None: never."
            )

    def _check_alerts(self) -> None:
        if isinstance(self.alerts, str):
            raise ConfigurationError(f"mirepoix_alerts must be a list of channels, not one string: [{self.alerts!r}].")
        labels = [parse(text).label for text in self.alerts]
        if len(set(labels)) < len(labels):
            raise ConfigurationError("mirepoix_alerts names a channel twice. Name each once.")
        if self.alerts_interval_s <= 0 or self.alerts_grace_s < 0:
            raise ConfigurationError("mirepoix_alerts_interval_s must be above 0, mirepoix_alerts_grace_s 0 or more.")
        if self.alerts_base_url is not None and not self.alerts_base_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"mirepoix_alerts_base_url must begin with https:// or http://, not be {self.alerts_base_url!r}."
            )
        if self.alerts_per_hour < 1:
            raise ConfigurationError(f"mirepoix_alerts_per_hour must be at least 1, not {self.alerts_per_hour!r}.")
        for queue, objective_s in (self.queue_objectives_s or {}).items():
            if not isinstance(objective_s, (int, float)) or objective_s <= 0:
                raise ConfigurationError(
                    f"mirepoix_queue_objectives_s must give seconds above 0 for {queue!r}, not {objective_s!r}."
                )

    @property
    def has_broker(self) -> bool:
        return self.delivery == "broker"

    @classmethod
    def read(cls, conf: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
        """Read the settings from the Celery configuration and the arguments of `install`. The arguments win.

        Raises ConfigurationError for an unknown name, with the list of the known names.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ConfigurationError(
                f"mirepoix.install() knows no setting {', '.join(map(repr, unknown))}. "
                f"It knows: {', '.join(sorted(known))}."
            )
        for name in sorted(_named_in(conf) - known):
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean mirepoix_{nearest[0]}?" if nearest else " docs/reference/settings.md lists them."
            raise ConfigurationError(f"The Celery configuration sets mirepoix_{name}, which is no setting.{hint}")
        found = {name: conf[key] for name in known if (key := f"mirepoix_{name}") in conf}
        from_environment = {"release": release} if (release := os.environ.get("MIREPOIX_RELEASE")) else {}
        try:
            return replace(cls(), **{**from_environment, **found, **given})
        except TypeError as error:
            raise ConfigurationError(f"A Mirepoix setting has a value of the wrong type: {error}.") from error


def _named_in(conf: Mapping[str, Any]) -> set[str]:
    """The names of all settings of ours in a Celery configuration, which may have a namespace (``CELERY_``)."""
    prefix = str(getattr(conf, "prefix", None) or "").lower()
    keys = {str(key) for key in conf}
    own = {key.lower().removeprefix(prefix) for key in keys if key.lower().startswith(prefix)}
    own |= {key for key in keys if key.islower()}  # what a program has set by itself has no namespace
    return {key.removeprefix("mirepoix_") for key in own if key.startswith("mirepoix_")}
