"""What the rules judge. The facts are collected once; a rule only reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

OWN_TASKS = ("celery.", "mirepoix.")
VISIBILITY_S = 3600.0
"""The visibility timeout of kombu's Redis transport, if the app sets none. Source: kombu/transport/redis.py."""
ACKNOWLEDGE_S = 1800.0
"""RabbitMQ closes a channel that keeps a message unacknowledged for so long: its ``consumer_timeout`` since 3.8.17."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A process as a supervisor starts it: a file of systemd, supervisor, Kubernetes or Docker, or a Procfile."""

    path: str
    kind: str
    """``systemd``, ``supervisor``, ``kubernetes``, ``dockerfile`` or ``procfile``."""
    name: str
    command: str
    stop_s: float | None = None
    """How long after SIGTERM the supervisor sends SIGKILL; None if it is not known."""
    kill_mode: str | None = None
    is_restarted: bool | None = None
    replicas: int = 1
    is_in_shell: bool = False
    """A shell starts the command and stays its parent, so it gets the signals."""
    has_liveness: bool | None = None
    kills_group: bool | None = None

    @property
    def words(self) -> list[str]:
        """The command's words."""
        return self.command.split()

    @property
    def is_worker(self) -> bool:
        """Whether it runs a worker."""
        return "worker" in self.words and any("celery" in word for word in self.words)

    @property
    def is_beat(self) -> bool:
        """Whether it runs beat, alone or inside a worker."""
        return self.is_worker_with_beat or ("beat" in self.words and any("celery" in word for word in self.words))

    @property
    def is_worker_with_beat(self) -> bool:
        """Whether it is a worker that also runs beat."""
        return self.is_worker and any(word in ("-B", "--beat") for word in self.words)


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker that answered. *error* says why it did not."""

    kind: str
    """``redis``, ``amqp``, or the name of another transport of kombu."""
    label: str
    error: str | None = None
    redis: Mapping[str, Any] = field(default_factory=dict)
    """Redis' INFO, and its CONFIG as far as it may be read."""


@dataclass(frozen=True, slots=True)
class Database:
    """The ledger's database. *error* says why nothing could be read."""

    dialect: str
    label: str
    error: str | None = None
    session_error: str | None = None
    missing_migrations: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """What `mirepoix.doctor.database` has read, by names of its own."""


@dataclass(eq=False)
class Facts:
    """One app and what surrounds it."""

    app: Any
    installation: Any | None = None
    settings: Any | None = None
    broker: Broker | None = None
    database: Database | None = None
    units: Sequence[Unit] = ()
    unread: Sequence[str] = ()
    """The files and folders of the deployment that were not read, each with the reason."""

    @property
    def conf(self) -> Any:
        """The app's configuration."""
        return self.app.conf

    @property
    def has_ledger(self) -> bool:
        """Whether the ledger accounts for the app's tasks."""
        return self.installation is not None

    @cached_property
    def tasks(self) -> list[Any]:
        """The app's own tasks, by name."""
        return [task for name, task in sorted(self.app.tasks.items()) if not name.startswith(OWN_TASKS)]

    def limit_s(self, task: Any) -> float | None:
        """Return after how many seconds the task is killed, or None."""
        return number(task.time_limit) or number(self.conf.task_time_limit)

    @cached_property
    def longest(self) -> tuple[float, str] | None:
        """The longest time limit in seconds, and its task. None if no task has a limit."""
        limits = [(limit, task.name) for task in self.tasks if (limit := self.limit_s(task))]
        return max(limits, default=None)

    def acknowledges_late(self, task: Any) -> bool:
        """Return whether a message of the task is acknowledged after the task has run."""
        return bool(self.conf.task_acks_late if task.acks_late is None else task.acks_late)

    @property
    def broker_kind(self) -> str | None:
        """``redis``, ``amqp`` or another transport. None if the app has no broker."""
        if self.has_ledger and self.installation.delivery == "ledger":  # type: ignore[union-attr]
            return None
        return kind_of(self.conf.broker_url)

    @property
    def visibility_s(self) -> float:
        """After how many seconds Redis delivers an unacknowledged message again."""
        seconds = number((self.conf.broker_transport_options or {}).get("visibility_timeout"))
        return VISIBILITY_S if seconds is None else seconds


def kind_of(url: Any) -> str:
    """Return the kind of broker that a URL, or the first of several, leads to."""
    first = next(iter(url), None) if isinstance(url, list | tuple) else url
    scheme = str(first or "amqp://").partition("://")[0].partition("+")[0]
    return {"rediss": "redis", "sentinel": "redis", "amqps": "amqp", "pyamqp": "amqp", "librabbitmq": "amqp"}.get(
        scheme, scheme
    )


def number(value: Any) -> float | None:
    """Return a setting as a number: the environment supplies texts. None if it is not set; an error if it is none."""
    return None if value is None or value == "" else float(value)


def names(tasks: Sequence[Any], most: int = 3) -> str:
    """Return the names of tasks, at most *most* of them."""
    shown = ", ".join(task.name for task in tasks[:most])
    return shown if len(tasks) <= most else f"{shown} and {len(tasks) - most} more"
