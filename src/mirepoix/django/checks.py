"""The system checks of an installation for ``manage.py check``. ``docs/reference/django-checks.md`` explains them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import connections, router

from mirepoix.broker import former
from mirepoix.celery import scheduling
from mirepoix.celery.installation import Installation
from mirepoix.celery.others import named, others
from mirepoix.connect.django import dialect_of, ledger_alias, require_library
from mirepoix.django import checks_of_tasks, project
from mirepoix.errors import ConfigurationError, MissingLibrary, UnsupportedDatabase

Findings = Iterator[Any]
"""An iterator of Django's check messages."""

LATE = ("task_acks_late", "task_reject_on_worker_lost")
"""Celery's settings for what Mirepoix always does."""

_imports: ContextVar[bool] = ContextVar("mirepoix_checks_import", default=False)
"""Whether the checks are importing an app's tasks."""

OUTBOXES = ("django_celery_outbox", "celery_outbox", "django_outbox_pattern")
"""Other apps that store what Celery sends."""


def register() -> None:
    """Register the checks for ``manage.py check``, under the tag ``mirepoix``."""
    checks.register(_listed(_of_database), "mirepoix")
    checks.register(_listed(_of_app), "mirepoix")
    checks.register(_listed(_of_production), "mirepoix", deploy=True)


def _listed(check: Callable[[], Findings]) -> Callable[..., list[Any]]:
    def run(app_configs: Any = None, **_: Any) -> list[Any]:
        is_asked = app_configs is None or any(config.label == "mirepoix" for config in app_configs)
        return list(check()) if is_asked else []

    return run


# ---- the ledger's database


def _of_database() -> Findings:
    alias = ledger_alias()
    if alias not in connections.settings:
        yield checks.Error(
            f"The ledger is in the database {alias!r}, which DATABASES does not have.",
            hint="Correct CELERY_MIREPOIX_DJANGO_ALIAS, or add the database.",
            id="mirepoix.E001",
        )
        return
    try:
        dialect = dialect_of(connections[alias])
    except UnsupportedDatabase as error:
        yield checks.Error(
            str(error),
            hint="Put the ledger into another database: CELERY_MIREPOIX_DJANGO_ALIAS = 'tasks'.",
            id="mirepoix.E002",
        )
        return
    try:
        require_library(dialect)
    except MissingLibrary as error:
        yield checks.Error(
            f"Workers cannot start, because they need their own connections to the database {alias!r}. {error}",
            hint=f"Run: {error.remedy}",
            id="mirepoix.E004",
        )
    tenant_apps = getattr(settings, "TENANT_APPS", ())
    if {"mirepoix.django", "mirepoix.django.apps.MirepoixConfig"}.intersection(tenant_apps):
        yield checks.Error(
            "mirepoix.django is one of TENANT_APPS. Then each tenant's schema has a ledger of its own, and no worker "
            "reads it.",
            hint="Name it only in SHARED_APPS. Tasks still run for the tenant that sends them.",
            id="mirepoix.E005",
        )
    if not router.allow_migrate(alias, "mirepoix"):
        yield checks.Warning(
            f"A database router keeps the ledger's tables out of the database {alias!r}, so manage.py migrate "
            "will not create them.",
            hint=f"Let allow_migrate({alias!r}, 'mirepoix') of your router in DATABASE_ROUTERS return True or None, or "
            "create the tables with manage.py mirepoix migrate.",
            id="mirepoix.W009",
        )
    if alias != "default":
        atomic = connections.settings["default"].get("ATOMIC_REQUESTS") if "default" in connections.settings else False
        yield checks.Warning(
            f"The ledger is in the database {alias!r}. A task that is sent in atomic() of another database is not part "
            "of that transaction." + (" This includes ATOMIC_REQUESTS of 'default'." if atomic else ""),
            hint=f"Send in transaction.atomic(using={alias!r}), or after the commit with on_commit(), or put the "
            "ledger where your own rows are. If this is intended, add mirepoix.W004 to SILENCED_SYSTEM_CHECKS.",
            id="mirepoix.W004",
        )


# ---- the Celery app


def _of_app() -> Findings:
    try:
        app = project.celery_app()
    except ConfigurationError as error:
        yield checks.Warning(
            str(error), hint="docs/how-to/django.md shows the module. It has seven lines.", id="mirepoix.W001"
        )
        return
    installation = getattr(app, "mirepoix", None)
    if not isinstance(installation, Installation):
        yield checks.Warning(
            f"Mirepoix is not installed on {app!r}. Its tasks go to a broker and never reach the ledger.",
            hint="Call mirepoix.install(app) in the module that creates the app. (INSTALLED_APPS cannot do it, because "
            "celery -A commands do not load Django's apps.)",
            id="mirepoix.W002",
        )
        return
    try:
        configured = installation.read_settings()
    except ConfigurationError as error:
        yield checks.Error(str(error), hint="Correct the CELERY_MIREPOIX_… setting.", id="mirepoix.E003")
        return
    if not project.has_ledger_of(installation):
        yield checks.Warning(
            f"{app!r} stores its tasks in {installation.source.label}, but the models, the admin and the migrations "
            f"use Django's database {ledger_alias()!r}.",
            hint="Remove the URL: mirepoix.install(app). Then CELERY_MIREPOIX_DJANGO_ALIAS names the database.",
            id="mirepoix.W003",
        )
    if not configured.has_broker:  # with a broker Celery acknowledges the messages that bypass the ledger
        yield from _of_acknowledging(app)
    yield from _of_confirming(app, configured)
    yield from _of_neighbours(app)
    if _imports.get() or app.loader.worker_initialized:
        # In Django, Celery runs all checks and drops their findings whenever it imports the tasks of an app. Without
        # this line the checks would call themselves for ever. A worker has imported its tasks and reports the rest.
        return
    token = _imports.set(True)
    try:
        yield from list(_of_other_apps(app))
    finally:
        _imports.reset(token)
    if configured.schedules:
        yield from _of_schedules(app)
    backlog = former.seen(installation)
    for sentence in () if backlog is None else backlog.sentences:
        yield checks.Warning(
            sentence.replace("celery -A YOUR_APP", "manage.py"),
            hint="docs/how-to/switch.md explains how to switch. When no message waits there any more, delete "
            "CELERY_BROKER_URL. If other programs take the messages, set CELERY_MIREPOIX_LOOK_AT_BROKER = False.",
            id="mirepoix.W013",
        )


def _of_schedules(app: Any) -> Findings:
    try:
        scheduling.defined(app)
    except ConfigurationError as error:
        yield checks.Error(
            f"No worker can start. {error}",
            hint="Correct the schedule, or leave all schedules to celery beat: CELERY_MIREPOIX_SCHEDULES = False.",
            id="mirepoix.E006",
        )


def _of_acknowledging(app: Any) -> Findings:
    late = [name for name in LATE if app.conf.get(name)]
    if late:
        yield checks.Warning(
            f"{' and '.join(f'CELERY_{name.upper()}' for name in late)} has no effect: the task of a dead worker is "
            "always run again, and a task that kills its workers is quarantined.",
            hint="Delete it from the settings. CELERY_MIREPOIX_MAX_DEATHS limits the deaths.",
            id="mirepoix.W005",
        )


def _of_confirming(app: Any, configured: Any) -> Findings:
    if not configured.has_broker or configured.capture:
        return  # no broker, or the relay, which waits for the confirm
    urls = str(app.conf.broker_write_url or app.conf.broker_url or "")
    if urls.startswith(("amqp", "pyamqp")) and not (app.conf.broker_transport_options or {}).get("confirm_publish"):
        yield checks.Warning(
            "CELERY_MIREPOIX_CAPTURE is off, so Celery publishes to RabbitMQ without waiting for its confirm. A task "
            "that is sent while RabbitMQ dies is lost.",
            hint="Set CELERY_BROKER_TRANSPORT_OPTIONS = {'confirm_publish': True} until you turn capture on.",
            id="mirepoix.W006",
        )


def _of_neighbours(app: Any) -> Findings:
    backend = str(app.conf.result_backend or "")
    if backend.startswith(("django-db", "django-cache")):
        yield checks.Warning(
            f"django-celery-results ({backend}) stores results separately from the outcome of their task. Either can "
            "be lost without the other.",
            hint="Delete CELERY_RESULT_BACKEND. Then the ledger stores results, in one transaction with the outcome.",
            id="mirepoix.W007",
        )
    for name in OUTBOXES:
        if any(config.name.split(".")[0] == name for config in apps.get_app_configs()):
            yield checks.Warning(
                f"{name} is installed beside Mirepoix. Both store what Celery sends, so a task could be sent twice.",
                hint=f"Remove {name} from INSTALLED_APPS when its table is empty.",
                id="mirepoix.W008",
            )


def _of_other_apps(app: Any) -> Findings:
    try:
        app.loader.import_default_modules()  # as a worker does: the tasks are declared there
    except Exception as error:  # noqa: BLE001 (the project's own code runs here)
        yield checks.Warning(
            f"The modules of the tasks of {app!r} cannot be imported: {type(error).__name__}: {error}",
            hint="No worker can start. This shows the traceback: celery -A YOUR_APP report",
            id="mirepoix.W010",
        )
    for other in others(app):
        if other.own_tasks:
            yield checks.Warning(
                f"{len(other.own_tasks):,} task(s) of the Celery app {other.name!r} go to a broker and never "
                f"reach the ledger: {named(other.own_tasks)}.",
                hint=f"Declare them with @shared_task or on the app {app.main!r}, or call mirepoix.install() on the "
                f"app {other.name!r} too. If this is intended, add mirepoix.W011 to SILENCED_SYSTEM_CHECKS.",
                id="mirepoix.W011",
            )
        if other.shared_tasks:
            yield checks.Warning(
                f"The Celery app {other.name!r}, on which Mirepoix is not installed, sends {len(other.shared_tasks):,} "
                f"task(s) of @shared_task: {named(other.shared_tasks)}. Celery sends them by the app that was created "
                "last, and in other threads by the app that was created first.",
                hint=f"Call set_current() and set_default() of the app {app.main!r} after mirepoix.install(), and "
                f"create the app {other.name!r} with Celery(..., set_as_current=False).",
                id="mirepoix.W012",
            )


# ---- production


def _of_production() -> Findings:
    try:
        app = project.celery_app()
    except ConfigurationError:
        app = None  # W001 reports it
    if app is not None and app.conf.task_always_eager:
        yield checks.Warning(
            "CELERY_TASK_ALWAYS_EAGER is on. Tasks run in the process that sends them, and nothing is stored.",
            hint="Turn it off in production. In tests use mirepoix.django.test.run_tasks().",
            id="mirepoix.W101",
        )
    if app is not None:
        yield from _of_tasks(app)
    alias = ledger_alias()
    if alias in connections.settings:
        yield from _of_connections(alias, connections[alias])


def _of_tasks(app: Any) -> Findings:
    tasks = checks_of_tasks.tasks_of(app)
    unlimited = checks_of_tasks.without_limit(app, tasks)
    if unlimited:
        more = f" and {len(unlimited) - 1:,} more" if len(unlimited) > 1 else ""
        yield checks.Info(
            f"Nothing limits how long {unlimited[0]}{more} may run. A task that hangs holds its place in the pool.",
            hint="Set CELERY_TASK_TIME_LIMIT for all tasks, or time_limit= on the task. If this is intended, add "
            "mirepoix.I103 to SILENCED_SYSTEM_CHECKS.",
            id="mirepoix.I103",
        )
    for task in tasks:
        for call, fields, line, path in checks_of_tasks.not_unique(task):
            yield checks.Warning(
                f"{task.name} calls {call} with {fields}, which no constraint keeps unique. Two attempts or two tasks "
                f"at once can both create the row ({path}:{line}).",
                hint=f"Add a UniqueConstraint on {fields}, or look the row up by fields that have a constraint.",
                id="mirepoix.W104",
            )


def _of_connections(alias: str, connection: Any) -> Findings:
    found, is_served = connection.settings_dict, connection.vendor != "sqlite"
    if is_served and found["CONN_MAX_AGE"] != 0 and not found["CONN_HEALTH_CHECKS"]:
        yield checks.Warning(
            f"DATABASES[{alias!r}] keeps connections (CONN_MAX_AGE) without CONN_HEALTH_CHECKS. After a restart of the "
            "database the first request of each process fails, and so do the tasks that it sends.",
            hint="Set CONN_HEALTH_CHECKS = True there.",
            id="mirepoix.W102",
        )
    if is_served and found["CONN_MAX_AGE"] == 0 and not found["OPTIONS"].get("pool"):
        yield checks.Info(
            f"DATABASES[{alias!r}] has CONN_MAX_AGE = 0. Each request, and each task that uses Django's connection, "
            "opens a new connection.",
            hint="Set CONN_MAX_AGE = 60 and CONN_HEALTH_CHECKS = True there, or OPTIONS = {'pool': True}.",
            id="mirepoix.I102",
        )
    if not found["AUTOCOMMIT"]:
        yield checks.Warning(
            f"DATABASES[{alias!r}] has AUTOCOMMIT = False. Django does not see your commits, so it never calls "
            "on_commit(), and with a broker only the relay publishes.",
            hint="Remove AUTOCOMMIT, and use transaction.atomic().",
            id="mirepoix.W103",
        )
    elif not found["ATOMIC_REQUESTS"]:
        yield checks.Info(
            f"DATABASES[{alias!r}] has no ATOMIC_REQUESTS. A task that a view sends outside transaction.atomic() is "
            "committed at once, even if the request fails later.",
            hint="Set ATOMIC_REQUESTS = True there, or send inside transaction.atomic(). If your views do, add "
            "mirepoix.I101 to SILENCED_SYSTEM_CHECKS.",
            id="mirepoix.I101",
        )
