"""Schedules of a Celery app: what its code defines, how a run is sent, and the duty of a worker to fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celery import schedules as celery_schedules
from celery.utils.log import get_logger

from mirepoix.celery.capture import captured
from mirepoix.celery.schedule import Schedule
from mirepoix.connect.source import OwnConnection
from mirepoix.errors import ConfigurationError
from mirepoix.records import Outgoing
from mirepoix.schedules import changing
from mirepoix.schedules.definition import Definition
from mirepoix.schedules.firing import Firing
from mirepoix.schedules.plan import Plan

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = get_logger("mirepoix.schedules")

BACKEND_CLEANUP = "celery.backend_cleanup"
SCHEDULE_HEADER = "mirepoix_schedule"
"""The header with the name of the schedule that sent a task."""
FIRE_HEADER = "mirepoix_fire_at"
"""The header with the fire time, in ISO 8601 and UTC. It does not change if the run is late."""


class AppSender:
    """Makes the messages of runs as ``celery beat`` would, and publishes them after the commit."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def knows(self, task: str) -> bool:
        return task in self._installation.app.tasks

    def make(self, name: str, definition: Definition, fire_at: datetime) -> list[Outgoing]:
        app = self._installation.app
        options = dict(definition.options)
        own = {"celery_beat_task": True, SCHEDULE_HEADER: name, FIRE_HEADER: fire_at.isoformat()}
        options["headers"] = {**(options.get("headers") or {}), **own}
        args, kwargs = tuple(definition.args), dict(definition.kwargs)
        with captured() as items:
            if definition.task in app.tasks:
                app.tasks[definition.task].apply_async(args, kwargs, **options)
            else:
                app.send_task(definition.task, args, kwargs, **options)
        return items

    def promised(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return self._installation.promised(items)

    def announce(self, items: Sequence[Outgoing]) -> None:
        self._installation.announce(items)

    def end(self, task_ids: Sequence[str], *, kill: bool) -> None:
        self._installation.app.control.revoke(list(task_ids), terminate=True, signal="SIGKILL" if kill else "SIGTERM")


def firing_of(installation: Installation) -> Firing:
    """What fires the schedules of the installation's ledger."""
    return Firing(AppSender(installation))


def record_own(installation: Installation, by: str) -> None:
    """Record the schedules of the app's code, on a connection of its own. Raises ConfigurationError."""
    connection = installation.source.open()
    try:
        record(installation, connection, by)
    finally:
        connection.close()


def record(installation: Installation, connection: OwnConnection, by: str) -> None:
    """Record the schedules of the app's code. Raises ConfigurationError."""
    app = installation.app
    changed = changing.record(connection, firing_of(installation), app_name(app), defined(app), by)
    if changed:
        logger.info("the schedules of the code were recorded: %s", ", ".join(sorted(changed)))


def warn_of_beat(app: Any, service: Any) -> None:
    """Log a warning if workers fire the schedules of *app*, and an ordinary beat that starts sends them too."""
    if service.app is not app or not app.mirepoix.settings.schedules:
        return
    if not getattr(service.scheduler, "fires_ledger", False):
        logger.warning(
            "mirepoix_schedules is on, so the workers fire beat_schedule, and this beat (%s) sends it as well: each "
            "task is sent twice. Stop this beat, or start it with -S mirepoix.schedulers:LedgerScheduler.",
            type(service.scheduler).__qualname__,
        )


def app_name(app: Any) -> str:
    """The name under which an app owns its schedules."""
    return str(app.main or "")


def defined(app: Any) -> dict[str, Definition]:
    """The schedules that the code of *app* defines, by name. Raises ConfigurationError, which names the schedule.

    They are ``beat_schedule`` and the clean-up of the result backend, as `celery beat` has them, and the tasks with a
    ``schedule``.
    """
    found: dict[str, Definition] = {}
    for name, entry in dict(app.conf.beat_schedule or {}).items():
        found[str(name)] = _definition(app, str(name), entry)
    if app.conf.result_expires and not app.backend.supports_autoexpire and BACKEND_CLEANUP not in found:
        # As every scheduler of Celery does, for result backends that delete nothing by themselves.
        cleanup = {
            "task": BACKEND_CLEANUP,
            "schedule": celery_schedules.crontab("0", "4"),
            "options": {"expires": 43200},
        }
        found[BACKEND_CLEANUP] = _definition(app, BACKEND_CLEANUP, cleanup)
    for name, task in app.tasks.items():
        schedule = getattr(task, "schedule", None)
        if schedule is not None:
            if name in found:
                raise ConfigurationError(f"beat_schedule and the task {name} both define the schedule {name!r}.")
            found[name] = _definition(app, name, {"task": name, "schedule": schedule})
    return found


def _definition(app: Any, name: str, entry: Mapping[str, Any]) -> Definition:
    try:
        plan = plan_of(app, entry["schedule"], is_relative=bool(entry.get("relative")))
        args, kwargs, options = (entry.get(key) for key in ("args", "kwargs", "options"))
        definition = Definition(entry["task"], plan, args or (), kwargs or {}, options or {})
        definition.as_text()
    except KeyError as error:
        raise ConfigurationError(f"The schedule {name!r} has no {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"The schedule {name!r} cannot be recorded. {error}") from error
    return definition


def plan_of(app: Any, schedule: Any, *, is_relative: bool = False) -> Plan:
    """The plan of a schedule as ``beat_schedule`` has it. Raises ConfigurationError for one that is not known.

    A class of the app's own, which computes its times in Python, cannot be stored.
    """
    if isinstance(schedule, Schedule):
        return schedule.plan
    if isinstance(schedule, Plan):
        return schedule
    own_zone = vars(schedule).get("tz") if isinstance(schedule, celery_schedules.BaseSchedule) else None
    zone = str(own_zone or app.timezone)
    if isinstance(schedule, str):
        return Plan(cron=schedule, timezone=zone)
    if isinstance(schedule, (int, float, timedelta)):
        schedule = celery_schedules.schedule(schedule, relative=is_relative)
    if isinstance(schedule, celery_schedules.crontab):
        return _plan_of_crontab(schedule, zone)
    if isinstance(schedule, celery_schedules.solar):
        return Plan(solar=(schedule.event, schedule.lat, schedule.lon), timezone=zone)
    if type(schedule) is celery_schedules.schedule:
        return Plan(every_s=schedule.run_every.total_seconds(), aligned=schedule.relative, timezone=zone)
    raise ConfigurationError(
        f"{schedule!r} is a {type(schedule).__qualname__}, which the ledger cannot store. Use mirepoix.Schedule, "
        "crontab, solar, or a number of seconds."
    )


def _plan_of_crontab(schedule: Any, zone: str) -> Plan:
    """A crontab's day of month and day of week have to match both, unlike those of cron."""
    minute, hour, *_ = schedule.__reduce__()[1]  # as they were written
    fields = (
        _field(schedule.minute, range(60), is_rhythm=str(minute).startswith("*")),
        _field(schedule.hour, range(24), is_rhythm=str(hour).startswith("*")),
        _field(schedule.day_of_month, range(1, 32)),
        _field(schedule.month_of_year, range(1, 13)),
    )
    weekdays = None if len(schedule.day_of_week) == 7 else tuple(sorted(schedule.day_of_week))  # noqa: PLR2004
    return Plan(cron=f"{' '.join(fields)} *", weekdays=weekdays, timezone=zone)


def _field(values: set[int], every: range, *, is_rhythm: bool = False) -> str:
    """The field of a cron expression. A star at its beginning makes the expression a rhythm, so it is kept."""
    steps = range(1, len(every) + 1) if is_rhythm or values == set(every) else ()
    step = next((step for step in steps if values == set(every[::step])), None)
    if step is None:
        return ",".join(str(value) for value in sorted(values))
    return "*" if step == 1 else f"*/{step}"
