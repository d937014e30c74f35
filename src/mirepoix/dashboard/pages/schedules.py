"""The schedules: when each fires, what became of its fire times, and pause, resume and run now."""

from __future__ import annotations

import json
import logging
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.celery import scheduling
from mirepoix.connect.source import OwnConnection
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.jobs import Job
from mirepoix.dashboard.pages.needs import parameters_of, require, shown_text, site_of, user_of
from mirepoix.dashboard.render import render
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import schedules as ledger
from mirepoix.ledger.query.health import HOUR_S
from mirepoix.ledger.schedules import FireRow, ScheduleRow
from mirepoix.operations.format import count, duration, one_line, printable
from mirepoix.operations.schedules import drift_of, lines, state_of, unrecorded, when_of
from mirepoix.schedules import by_hand
from mirepoix.schedules.definition import Definition
from mirepoix.schedules.firing import Firing, Nothing
from mirepoix.schedules.plan import Plan

logger = logging.getLogger("mirepoix.dashboard")

FIRES = 50
LATE_S = 1.0
LONGEST_REASON = 1_000
LONGEST_VALUE = 2_000
VERBS = ("pause", "resume", "run now")
NO_APP = "Only a dashboard with the app can run it now, because the app makes the message"


@dataclass(frozen=True, slots=True)
class Code:
    """What the code of this process defines. *trouble* says why that is unknown."""

    defined: Mapping[str, Definition] | None = None
    app: str | None = None
    trouble: str = ""


def show_all(request: Request) -> Response:
    """Show all of them, by name."""
    site, code = site_of(request), _code(request)
    with site.reading() as tx:
        found = lines(tx, code.defined, code.app, lately_s=HOUR_S)  # a day may have a million fire times
        missing = [] if code.defined is None else unrecorded(tx, code.defined)
    return render(
        request,
        "schedules.html",
        found=[(line, in_zone(line.next_fire_at, line.timezone)) for line in found],
        missing=missing,
        trouble=code.trouble,
        is_off=site.has_app and not site.installation.settings.schedules,
        late_s=LATE_S,
    )


def show(request: Request) -> Response:
    """Show one of them, and what became of its latest fire times."""
    name, code = request.path_params["name"], _code(request)
    with site_of(request).reading() as tx:
        row = _find(tx, name)
        fires = ledger.latest(tx, name, FIRES + 1)
    try:
        definition = Definition.from_text(row.definition)
    except ConfigurationError as error:
        raise BadAddress(f"This dashboard's code cannot read the schedule: {error}") from None
    plan = definition.plan
    return render(
        request,
        "schedule.html",
        once=secrets.token_urlsafe(12),
        row=row,
        state=state_of(row),
        when=when_of(plan),
        zone=plan.timezone,
        next_here=in_zone(row.next_fire_at, plan.timezone),
        policies=_policies(plan),
        call=_call(request, definition) if user_of(request).may(Role.ARGUMENTS) else None,
        drift=drift_of(row, code.defined, code.app),
        trouble=code.trouble,
        fires=[
            (fire, in_zone(fire.fire_at, plan.timezone), shown_text(request, fire.reason), _late(fire))
            for fire in fires[:FIRES]
        ],
        has_more=len(fires) > FIRES,
        word=shlex.quote(printable(name)),
        no_app=NO_APP,
    )


def change(request: Request) -> Response:
    """Pause, resume or run a schedule in a thread, because skipping many fire times takes a while."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    name, verb = visit.first("name"), visit.first("verb")
    if verb not in VERBS:
        raise BadAddress("A schedule can be paused, resumed or run now.")
    if verb == "run now" and not site.has_app:
        raise BadAddress(f"{NO_APP}: celery -A YOUR_APP mirepoix dashboard.")
    with site.reading() as tx:
        if _find(tx, name).removed_at is not None:
            raise BadAddress("The schedule was removed.")
    reason = one_line(visit.first("reason"))[:LONGEST_REASON]
    firing = scheduling.firing_of(site.installation) if site.has_app else Firing(Nothing())

    def work(connection: OwnConnection, job: Job) -> None:
        if verb == "pause":
            is_new = by_hand.pause(connection, firing, name, user.name, reason or None)
            job.lines.append("It is paused." if is_new else "It was paused already.")
        elif verb == "resume":
            was_paused = by_hand.resume(connection, firing, name, user.name, reason)
            job.lines.append("It is resumed." if was_paused else "It was not paused.")
        else:
            _, task_id = by_hand.run_now(connection, firing, name, user.name, reason)
            job.lines.append(f"Its run was sent: {task_id}")

    page = f"/schedules/{name}"
    job = site.jobs.begin(f"{verb.capitalize()}: {one_line(name)}", user.name, page, 0, work, visit.first("once"))
    site.snapshot.forget()
    to = quote(page) if job.is_over and not job.error else f"/jobs/{job.id}"
    return RedirectResponse(f"{request.scope['root_path']}{to}", 303)


def in_zone(at: datetime | None, zone: str) -> str:
    """Write a time in the zone of its schedule. Empty if that is UTC."""
    if at is None or zone == "UTC":
        return ""
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"


def _find(tx: Any, name: str) -> ScheduleRow:
    row = None if "\x00" in name else ledger.find(tx, name)
    if row is None:
        raise NoSuchThing("The ledger has no schedule of that name.")
    return row


def _code(request: Request) -> Code:
    """Return what the app's code defines. Its modules are imported, because tasks may have schedules."""
    site = site_of(request)
    if not site.has_app:
        return Code()
    app = site.installation.app
    try:
        app.loader.import_default_modules()
        return Code(scheduling.defined(app), scheduling.app_name(app))
    except Exception as error:  # the code of the app runs here
        logger.warning("the schedules of the app's code could not be read", exc_info=True)
        return Code(trouble=f"The schedules of the app's code cannot be read here: {type(error).__name__}.")


def _policies(plan: Plan) -> list[tuple[str, str]]:
    """Return what the plan says beside when it fires."""
    failures = "" if plan.pause_after_failures is None else count(plan.pause_after_failures, "failure")
    found = (
        ("Not before", plan.start or ""),
        ("Not after", plan.end or ""),
        ("Not on", ", ".join(plan.exclude)),
        ("Aligned", "to 1970-01-01 00:00 UTC" if plan.aligned else ""),
        ("Jitter", f"up to {plan.jitter_s:g} s" if plan.jitter_s else ""),
        ("Overlap", plan.overlap.replace("_", " ")),
        ("Catch up", f"{plan.catch_up}, not after {duration(plan.catch_up_s)}"),
        ("Pauses after", failures),
    )
    return [(name, words) for name, words in found if words]


def _call(request: Request, definition: Definition) -> str:
    """Write the arguments and the options, without what is hidden."""
    redactor = site_of(request).redactor
    args, kwargs = redactor.arguments(
        list(definition.args), dict(definition.kwargs), parameters_of(request, definition.task)
    )
    words = [_json(value) for value in args] + [f"{key}={_json(value)}" for key, value in kwargs.items()]
    options = redactor.value(dict(definition.options))
    return f"({', '.join(words)})" + (f" with {_json(options)}" if options else "")


def _json(value: Any) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _late(fire: FireRow) -> str:
    """Return how late a run was sent. One that somebody asked for is never late."""
    late_s = (fire.decided_at - fire.due_at).total_seconds()
    return duration(late_s) if fire.task_id and fire.cause == "schedule" and late_s > LATE_S else ""
