"""The Python stack of a task that runs now, asked from its worker. It is recorded who asked."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.celery import stacks
from mirepoix.celery.stacks import Stack
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.pages.needs import require, site_of
from mirepoix.dashboard.render import render
from mirepoix.ledger import operate
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.operations.format import one_line, printable
from mirepoix.states import HELD

VERB = "stack"
REASON = "looked at its stack in the dashboard"


def ask(request: Request) -> Response:
    """Ask the worker, and show its answer."""
    user, visit, site = require(request, Role.ARGUMENTS), visit_of(request), site_of(request)
    if not site.has_app:
        raise BadAddress("Workers can be asked by a dashboard with an app only: celery -A YOUR_APP mirepoix dashboard.")
    task_id = visit.first("id")
    with site.reading() as tx:
        detail = None if "\x00" in task_id else task_detail(tx, task_id)
    if detail is None:
        raise NoSuchThing("The ledger has no task of that id.")
    if detail.state in HELD and detail.worker:  # its start may not be recorded yet
        with site.installation.source.transaction() as tx:
            operate.note(tx, [detail.id], VERB, user.name, REASON)
        found = stacks.ask(site.installation.app, detail.worker, detail.id)
    else:
        found = Stack(trouble=f"the task does not run: it is {detail.state}")
    text = printable(site.redactor.text(found.text))
    return render(request, "stack.html", detail=detail, text=text, trouble=one_line(found.trouble), pid=found.pid)
