"""One task: why it does not run, its whole life, its arguments, its errors and its relatives."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mirepoix.celery.scheduling import FIRE_HEADER, SCHEDULE_HEADER
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import NoSuchThing
from mirepoix.dashboard.pages.needs import parameters_of, shown_frames, shown_message, shown_text, site_of, user_of
from mirepoix.dashboard.render import render
from mirepoix.dashboard.timeline import timeline, waited
from mirepoix.dashboard.tree import arranged
from mirepoix.ledger import results
from mirepoix.ledger.holds import Kind
from mirepoix.ledger.query.task_detail import AttemptLine, TaskDetail, task_detail
from mirepoix.ledger.query.workflow import Workflow, workflow
from mirepoix.operations import why as judge
from mirepoix.operations.decisions import offered
from mirepoix.operations.format import printable
from mirepoix.states import HELD, State

LONGEST_RESULT = 20_000
TERMINATE = "terminate"


def show(request: Request) -> Response:
    """Show it."""
    site, user = site_of(request), user_of(request)
    task_id = request.path_params["task_id"]
    if "\x00" in task_id:
        raise NoSuchThing("The ledger has no task of that id.")
    with site.reading() as tx:
        detail = task_detail(tx, task_id)
        if detail is None:
            words = f"The ledger has no task {task_id!r}: it was never sent, was rolled back, or was pruned."
            raise NoSuchThing(words)
        scene = judge.look(tx, detail)
        if not user.may(Role.ARGUMENTS):
            scene = scene.without_values()
        answer = judge.why(detail, scene)
        flow = workflow(tx, task_id)
        known = results.find(tx, [task_id])[0] if user.may(Role.ARGUMENTS) else None
    return render(
        request,
        "task.html",
        detail=detail,
        why=answer,
        why_facts=[shown_text(request, fact) for fact in answer.facts],
        pause_of_name=scene.hold(Kind.TASK, detail.name),
        reason=shown_text(request, detail.reason),
        moments=[(moment, waited(moment)) for moment in timeline(detail)],
        errors=[_error(request, attempt) for attempt in reversed(detail.attempts) if attempt.error],
        arguments=_arguments(request, detail) if user.may(Role.ARGUMENTS) else None,
        has_json=detail.arguments is not None,
        result=_result(request, known.result) if known is not None and known.status == "SUCCESS" else None,
        verbs=_verbs(request, detail),
        flow=flow,
        run=arranged(flow) if len(flow.nodes) > 1 or any(node.then for node in flow.nodes) else (),
        missing=_missing(detail, flow),
        schedule=_schedule(detail),
        limit=None if scene.limit is None else scene.limit.name,
    )


def _verbs(request: Request, detail: TaskDetail) -> tuple[str, ...]:
    user = user_of(request)
    if not user.may(Role.ACT):
        return ()
    verbs = offered(detail.state, has_due=detail.due_at is not None)
    if detail.state in HELD and site_of(request).has_app:
        verbs = ("cancel",) if detail.state is State.LEASED else ()
        if user.may(Role.ADMINISTER):
            verbs = (*verbs, TERMINATE)
    return verbs


def _arguments(request: Request, detail: TaskDetail) -> list[tuple[str, str]]:
    if detail.arguments is None:
        return []
    names = parameters_of(request, detail.name)
    args, kwargs = site_of(request).redactor.arguments(*detail.arguments, names)
    shown = [(names[place] if place < len(names) else str(place), _json(value)) for place, value in enumerate(args)]
    return shown + [(f"{key}=", _json(value)) for key, value in kwargs.items()]


def _result(request: Request, text: str | None) -> str:
    try:
        value = site_of(request).redactor.value(json.loads(text or "null"))
    except (ValueError, RecursionError):
        return "It is not JSON, and cannot be shown."
    written = _json(value)
    return written if len(written) <= LONGEST_RESULT else f"{written[:LONGEST_RESULT]}\n… cut"


def _json(value: Any) -> str:
    return printable(json.dumps(value, indent=2, ensure_ascii=False))


def _error(request: Request, attempt: AttemptLine) -> dict[str, Any]:
    may_see = user_of(request).may(Role.ARGUMENTS)
    text = printable(site_of(request).redactor.text(attempt.traceback or "")) if may_see else ""
    return {
        "fence": attempt.fence,
        "outcome": attempt.outcome,
        "at": attempt.finished_at,
        "type": attempt.error_type or "",
        "message": shown_message(request, attempt.error),
        "own": shown_frames(request, attempt.traceback),
        "traceback": text,
    }


def _schedule(detail: TaskDetail) -> tuple[str, str] | None:
    """Return the name of the schedule that sent the task, and the fire time."""
    name, fire_at = detail.headers.get(SCHEDULE_HEADER), detail.headers.get(FIRE_HEADER)
    return (name, str(fire_at or "")) if isinstance(name, str) and name else None


def _missing(detail: TaskDetail, flow: Workflow) -> str | None:
    """Return the id of the root if the ledger does not have it any more, or if no path of parents leads to it."""
    known = {node.id for node in flow.nodes}
    return detail.root.id if detail.root is not None and detail.root.id not in known else None
