"""Pause and resume a queue, a task's name, a limit or one of its keys, a worker or a release."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.connect.source import OwnConnection
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress
from mirepoix.dashboard.gate import own_path, visit_of
from mirepoix.dashboard.jobs import Job
from mirepoix.dashboard.pages.needs import require, site_of
from mirepoix.ledger.holds import Kind
from mirepoix.operations import steering
from mirepoix.operations.format import count, one_line

LONGEST_NOTE = 1_000


def change(request: Request) -> Response:
    """Pause at once, or resume in a thread: it may have many held tasks to release."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    verb, back = visit.first("verb"), own_path(visit.first("back", "/queues"))
    try:
        kind, value = Kind(visit.first("kind")), steering.checked(visit.first("value"))
    except ValueError:
        raise BadAddress("A queue, a task, a limit, a worker or a release can be paused, by its name.") from None
    note = one_line(visit.first("note"))[:LONGEST_NOTE]
    if verb == "pause":
        steering.pause(site.installation.source, kind, value, user.name, note)
        site.snapshot.forget()
        return RedirectResponse(f"{request.scope['root_path']}{back}", 303)
    if verb != "resume":
        raise BadAddress("It can be paused or resumed.")

    shown = steering.what(kind, steering.key_without_value(value) if kind is Kind.LIMIT else value)  # all see the job

    def work(connection: OwnConnection, job: Job) -> None:
        def advanced(number: int) -> None:
            job.done = job.total = number

        was_paused, released = steering.resume(connection, kind, value, user.name, note, advanced)
        job.lines.append(f"{shown} {'is resumed' if was_paused else 'was not paused'}")
        if released:
            job.lines.append(f"{count(released, 'held task')} released")

    job = site.jobs.begin(f"Resume {shown}", user.name, back, 0, work)
    site.snapshot.forget()
    return RedirectResponse(f"{request.scope['root_path']}/jobs/{job.id}", 303)
