"""Every setting of Mirepoix, with its default, its unit and the reason for it.

Each is given to ``mirepoix.install(app, url, lease_ttl_s=30)`` or, as ``mirepoix_lease_ttl_s``, in the Celery
configuration (in Django: ``CELERY_MIREPOIX_LEASE_TTL_S``). The argument of ``install`` wins.
"""

from __future__ import annotations

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
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation. Durations are in seconds."""

    lease_ttl_s: float = 15.0
    """A worker whose heartbeat stays out this long is dead: the detector of lost hosts and frozen processes. Dead
    processes are seen in about a second whatever this says, and a task may run for days under it."""

    liveness_interval_s: float = 0.2
    """How often each worker looks for workers that died. One cheap statement, or system call (SQLite). Of many workers
    each looks less often, at least once a second."""

    max_deaths: int = 3
    """A task that this many processes or workers have died of is quarantined: see docs/design/fencing.md on blame."""

    max_handovers: int = 10
    """A task handed out this often and lost or rejected each time, without being to blame, is quarantined."""

    start_noted_after_s: float = 0.05
    """An attempt that runs longer than this is noted in the ledger as started (for blame and for people)."""

    flush_interval_s: float = 0.02
    """Successes with nothing to send are recorded together, at the latest after this long."""

    take_batch: int = 500
    """The most tasks a worker leases ahead of running them; it leases what it can run in about 0.1 s, up to this."""

    poll_interval_s: float = 1.0
    """How often an idle worker asks although nothing woke it: the bound on a lost notification."""

    sqlite_poll_interval_s: float = 0.01
    """How often an idle worker looks whether the SQLite file changed, where the system cannot tell it (not Linux)."""

    mysql_poll_interval_s: float = 0.01
    """How often an idle worker looks for new tasks in MariaDB or MySQL, which tell nobody of a commit (0.1 ms each)."""

    payload_limit_bytes: int = 1_048_576
    """The largest message body that is accepted, in bytes of serialised arguments."""

    retention_s: float | None = 7 * 24 * 3600.0
    """Succeeded, cancelled and expired tasks are pruned after this long; ``None`` keeps them. Failed, quarantined
    and parked tasks are never pruned by themselves."""

    key_retention_s: float | None = 24 * 3600.0
    """A key of `mirepoix.submit_once` may be used again this long after its task was pruned. ``None`` keeps it."""

    failure_retention_s: float | None = 90 * 24 * 3600.0
    """Causes of failures are forgotten when nothing failed by them for so long and no task bears them; ``None`` keeps
    them. What is ignored is kept."""

    parked_failure_after_s: float = 3.0
    """A task that no code here can take waits for a worker whose code can. Those who wait for its result are told that
    it failed when it has waited so long; if it is taken up after all, they may ask again."""

    prune_interval_s: float = 60.0
    """How often each worker prunes (at most 5,000 tasks a time)."""

    delivery: str = "ledger"
    """Who delivers: ``ledger`` (workers take their tasks from the database, no broker is needed) or ``broker`` (the
    app's own ``broker_url`` notifies workers of each task; what it loses or repeats does no harm)."""

    capture: bool = True
    """Off: what the app sends goes to its broker as Celery sends it, and only workers know the ledger. The first of the
    two deploys by which a running system moves in (see the how-to). Only with ``delivery="broker"``."""

    foreign_tasks: str = "run"
    """What a worker does with a message whose task is not in the ledger (sent by other programs, or before the
    installation): ``run`` it as Celery does, or ``adopt`` it: write it into the ledger, then acknowledge it."""

    look_at_broker: bool = True
    """Whether workers that start, ``mirepoix status`` and Django's checks look for messages that still wait where
    ``broker_url`` points: the app's tasks went there before the ledger. Only with ``delivery="ledger"``."""

    relay: bool = True
    """Whether this app's workers take part in publishing what its senders could not (one of all of them does). Off
    where ``celery -A app mirepoix relay`` runs."""

    relay_grace_s: float = 1.0
    """How long a sender that committed a task has time to publish it by itself, before the relay does."""

    relay_batch: int = 500
    """The most tasks that are published, and noted as sent, together."""

    resend_after_s: float = 30.0
    """A task that the broker was told of and that nobody took for this long, or for three times as long as others of
    its queue have lately waited, goes out again if the broker has fewer messages than the ledger expects."""

    broker_retry_s: float = 1.0
    """How often an absent broker is tried again."""

    probe_interval_s: float = 30.0
    """How often probes go through each queue, to find workers that are connected and receive nothing; 0 sends none."""

    stalled_worker: str = "report"
    """What a worker does when it finds that its consumer is stalled: it is connected, and receives neither tasks nor
    probes for a third probe interval. ``report``: log it (``mirepoix health`` finds it too). ``exit``: end, so that
    the supervisor starts another worker."""

    release: str | None = None
    """The version of the code, as you name your releases. It is noted with every failure: what fails again in a new
    release is told from what fails in an old worker. Without it, what ``MIREPOIX_RELEASE`` says."""

    alerts: tuple[str, ...] = ()
    """Who is told of what a person would want to hear: ``logging``, ``mail_admins`` (Django), ``sentry``, an
    ``https://`` webhook, ``mailto:oncall@example.com?via=smtp://host:25``, or the path of a function that takes an
    `Alert`. Without any, workers do not watch."""

    alerts_interval_s: float = 15.0
    """How often one of the workers, or ``mirepoix alerts --watch``, looks for something to tell."""

    alerts_grace_s: float = 30.0
    """What may mend itself is told only if it lasts longer: no worker that is alive, and what is parked."""

    alerts_per_hour: int = 20
    """The most alerts that one channel is told of one by one within an hour; the rest is one summary."""

    alerts_secret: str | None = None
    """What webhooks are signed with: ``Mirepoix-Signature: sha256=`` and the HMAC of the body."""

    alerts_base_url: str | None = None
    """Where Django's admin is (``https://shop.example/admin/``): alerts link to their failure group there, or to
    one of the tasks."""

    queue_objectives_s: Mapping[str, float] | None = None
    """How long the oldest ready task of each queue may wait before it is an alert: ``{"default": 60}``; ``*`` stands
    for every queue that is not named."""

    retries: RetryPolicy | None = None
    """How tasks that raise are tried again: a ``mirepoix.RetryPolicy``, or a mapping of its arguments. A task's
    own option ``retries`` goes before this. None: as each task asks Celery to, and no more."""

    worker_url: str | None = field(default=None, repr=False)
    """The ledger's URL for workers, where programs that send reach it through a pooler that gives each transaction
    another session, such as pgbouncer with ``pool_mode = transaction``: workers need sessions of their own, and refuse
    to start on such a pooler. In Django tasks use Django's connections nevertheless. None: as everybody."""

    django_alias: str = "default"
    """With Django: the database alias that holds the ledger. Set in Django's settings, where the migrations read it."""

    django_app: str = ""
    """With Django: the Celery app, as ``celery -A`` takes it, where it is not the one in the celery module of the
    project's package. Set in Django's settings: the checks, the admin and ``manage.py mirepoix`` read it there."""

    def look_interval_s(self, dialect: str) -> float:
        """How often to look for news where the database tells of none."""
        return self.mysql_poll_interval_s if dialect == "mysql" else self.sqlite_poll_interval_s

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", policy_of(self.retries, "mirepoix_retries"))
        intervals = ("liveness_interval_s", "flush_interval_s", "poll_interval_s", "mysql_poll_interval_s")
        for name in ("lease_ttl_s", "broker_retry_s", "resend_after_s", *intervals):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"mirepoix_{name} must be above 0, not {getattr(self, name)!r}.")
        for name in ("max_deaths", "max_handovers", "take_batch", "payload_limit_bytes", "relay_batch"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"mirepoix_{name} must be at least 1, not {getattr(self, name)!r}.")
        for name in ("relay_grace_s", "probe_interval_s", "parked_failure_after_s"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"mirepoix_{name} must be 0 or more, not {getattr(self, name)!r}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(
                    f"mirepoix_{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}."
                )
        self._check_alerts()
        if not self.capture and not self.has_broker:
            raise ConfigurationError(
                "mirepoix_capture is off, and there is no broker that tasks could go to instead of the ledger. Set "
                "mirepoix_delivery='broker'."
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
        """Whether a broker delivers."""
        return self.delivery == "broker"

    @classmethod
    def read(cls, conf: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
        """The settings from the Celery configuration, overridden by what `install` was given.

        Raises ConfigurationError for a name that is no setting, with the nearest that is.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ConfigurationError(
                f"mirepoix.install() knows no setting {', '.join(map(repr, unknown))}. "
                f"It knows: {', '.join(sorted(known))}."
            )
        found = {name: conf[key] for name in known if (key := f"mirepoix_{name}") in conf}
        from_environment = {"release": release} if (release := os.environ.get("MIREPOIX_RELEASE")) else {}
        try:
            return replace(cls(), **{**from_environment, **found, **given})
        except TypeError as error:
            raise ConfigurationError(f"A Mirepoix setting has a value of the wrong type: {error}.") from error
