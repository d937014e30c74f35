"""Every setting of Mirepoix, with its default, its unit and the reason for it.

Each is given to ``mirepoix.install(app, url, lease_ttl_s=30)`` or, as ``mirepoix_lease_ttl_s``, in the Celery
configuration (in Django: ``CELERY_MIREPOIX_LEASE_TTL_S``). The argument of ``install`` wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mirepoix.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation. Durations are in seconds."""

    lease_ttl_s: float = 15.0
    """A worker whose heartbeat stays out this long is dead: the detector of lost hosts and frozen processes. Dead
    processes are seen in about a second whatever this says, and a task may run for days under it."""

    liveness_interval_s: float = 0.2
    """How often each worker looks for workers that died. One cheap statement (PostgreSQL) or system call (SQLite)."""

    max_deaths: int = 3
    """A task that was running in this many processes when they died is quarantined."""

    max_handovers: int = 10
    """A task handed out this often and lost or rejected each time, without being seen to start, is quarantined."""

    start_noted_after_s: float = 0.05
    """An attempt that runs longer than this is noted in the ledger as started (for blame and for people)."""

    flush_interval_s: float = 0.02
    """Successes with nothing to keep or send are recorded together, at the latest after this long."""

    take_batch: int = 500
    """The most tasks a worker leases ahead of running them; it leases what it can run in about 0.1 s, up to this."""

    poll_interval_s: float = 1.0
    """How often an idle worker asks although nothing woke it: the bound on a lost notification."""

    sqlite_poll_interval_s: float = 0.01
    """How often an idle worker looks whether the SQLite file changed, where the system cannot tell it (not Linux)."""

    payload_limit_bytes: int = 1_048_576
    """The largest message body that is accepted, in bytes of serialised arguments."""

    retention_s: float | None = 7 * 24 * 3600.0
    """Succeeded, cancelled and expired tasks are pruned after this long; ``None`` keeps them. Failed, quarantined
    and parked tasks are never pruned by themselves."""

    prune_interval_s: float = 60.0
    """How often each worker prunes (at most 5,000 tasks a time)."""

    django_alias: str = "default"
    """With Django: the database alias that holds the ledger. Set in Django's settings, where the migrations read it."""

    def __post_init__(self) -> None:
        for name in ("lease_ttl_s", "liveness_interval_s", "flush_interval_s", "poll_interval_s"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"mirepoix_{name} must be above 0, not {getattr(self, name)!r}.")
        for name in ("max_deaths", "max_handovers", "take_batch", "payload_limit_bytes"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"mirepoix_{name} must be at least 1, not {getattr(self, name)!r}.")

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
        try:
            return replace(cls(), **{**found, **given})
        except TypeError as error:
            raise ConfigurationError(f"A Mirepoix setting has a value of the wrong type: {error}.") from error
