"""Read the entries of django-celery-beat and of redbeat, to take them over as schedules of the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from mirepoix.celery.scheduling import BACKEND_CLEANUP, plan_of
from mirepoix.errors import ConfigurationError
from mirepoix.schedules.calendar import times_after
from mirepoix.schedules.definition import Definition, check_name
from mirepoix.schedules.plan import Plan


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that can be taken over, or the reason why it cannot."""

    name: str
    definition: Definition | None
    is_enabled: bool = True
    why_not: str | None = None


def from_django_celery_beat(app: Any) -> list[Entry]:
    """Read the periodic tasks of django-celery-beat in Django's database.

    Raises ConfigurationError unless the project has django-celery-beat.
    """
    try:
        from django_celery_beat.models import PeriodicTask
    except Exception as error:  # not installed, or Django is not set up
        raise ConfigurationError(
            f"django-celery-beat cannot be read here: {error}. Run this as `manage.py mirepoix schedules import …`, in "
            "the project whose INSTALLED_APPS have django_celery_beat."
        ) from error
    rows = PeriodicTask.objects.order_by("name")
    return [_read(row.name, row.enabled, partial(_definition_of_django, app, row)) for row in rows]


def from_redbeat(app: Any) -> list[Entry]:
    """Read the entries of redbeat in Redis, except those that it has from ``beat_schedule``.

    Raises ConfigurationError unless redbeat is installed.
    """
    try:
        from redbeat.schedulers import RedBeatSchedulerEntry, ensure_conf, get_redis
    except ImportError as error:
        raise ConfigurationError(f"redbeat cannot be read here: {error}.") from error
    ensure_conf(app)
    redis, conf = get_redis(app), app.redbeat_conf
    static = {f"{conf.key_prefix}{name}" for name in redis.smembers(conf.statics_key)}

    def entries() -> Iterator[Entry]:
        for key in sorted(redis.zrange(conf.schedule_key, 0, -1)):
            if key not in static:
                entry = RedBeatSchedulerEntry.from_key(key, app=app)
                yield _read(entry.name, entry.enabled, partial(_definition_of_redbeat, app, entry))

    return list(entries())


SOURCES: Mapping[str, Callable[[Any], list[Entry]]] = {
    "django-celery-beat": from_django_celery_beat,
    "redbeat": from_redbeat,
}


def _read(name: str, is_enabled: bool, read: Callable[[], Definition]) -> Entry:
    if name == BACKEND_CLEANUP:
        return Entry(name, None, why_not="the ledger's workers add it by themselves if the result backend needs it")
    try:
        check_name(name)
        definition = read()
        definition.as_text()
    except (ConfigurationError, ValueError) as error:
        return Entry(name, None, is_enabled, str(error))
    return Entry(name, definition, is_enabled)


def _definition_of_django(app: Any, row: Any) -> Definition:
    clocked = getattr(row, "clocked", None)
    plan = Plan(at=_text(clocked.clocked_time)) if clocked is not None else plan_of(app, row.schedule)
    if plan.every_s is not None and row.last_run_at is not None:
        # It counted from the last run: keep that rhythm.
        plan = replace(plan, start=_text(row.last_run_at + timedelta(seconds=plan.every_s)))
    if row.start_time is not None:
        plan = replace(plan, start=_text(row.start_time))
    if row.expires is not None:
        plan = replace(plan, end=_text(row.expires))
    if row.one_off and plan.at is None:
        now = datetime.now(UTC)
        plan = Plan(at=_text(next(times_after(plan, now, now))), timezone=plan.timezone)
    options = {key: getattr(row, key) for key in ("queue", "exchange", "routing_key", "priority")}
    options |= {"expires": row.expire_seconds, "headers": json.loads(row.headers or "{}") or None}
    given = {key: value for key, value in options.items() if value not in (None, "")}
    return Definition(row.task, plan, json.loads(row.args or "[]"), json.loads(row.kwargs or "{}"), given)


def _definition_of_redbeat(app: Any, entry: Any) -> Definition:
    plan = plan_of(app, entry.schedule)
    if plan.every_s is not None and not plan.aligned and entry.last_run_at is not None:
        plan = replace(plan, start=_text(entry.last_run_at + timedelta(seconds=plan.every_s)))
    options = {key: value for key, value in (entry.options or {}).items() if value is not None}
    return Definition(entry.task, plan, list(entry.args or ()), dict(entry.kwargs or {}), options)


def _text(moment: datetime) -> str:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()
