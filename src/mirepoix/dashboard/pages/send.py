"""Send a task from a page, new or as a copy of another. The call is checked against the task's signature first."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.celery.signatures import version_of
from mirepoix.dashboard.access import Role, User
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.pages.needs import parameters_of, require, site_of
from mirepoix.dashboard.render import render
from mirepoix.errors import EnqueueError
from mirepoix.ledger import operate
from mirepoix.ledger.query.task_detail import task_detail
from mirepoix.ledger.query.tasks import versions_of
from mirepoix.operations.format import one_line
from mirepoix.operations.redact import HIDDEN
from mirepoix.signatures.call_codec import Call
from mirepoix.signatures.shape import Shape

VERB = "send"
LONGEST = 200_000
LONGEST_NAME = 500
LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Draft:
    """What was typed. *task_id* is chosen with the form, so that a form that is sent twice sends one task."""

    task_id: str
    name: str = ""
    args: str = "[]"
    kwargs: str = "{}"
    queue: str = ""
    reason: str = ""


def ask(request: Request) -> Response:
    """Show the form, empty or filled in like another task."""
    _require(request)
    like = request.query_params.get("like", "")
    draft = Draft(str(uuid.uuid4()))
    if like:
        draft = _like(request, like, draft.task_id)
    return _form(request, draft)


def send(request: Request) -> Response:
    """Send it, or show the form again with what is wrong. Then nothing was written."""
    user, visit, site = _require(request), visit_of(request), site_of(request)
    typed = {name: visit.first(name).strip() for name in ("task_id", "name", "args", "kwargs", "queue", "reason")}
    draft = Draft(**{**typed, "args": typed["args"] or "[]", "kwargs": typed["kwargs"] or "{}"})
    try:
        args, kwargs = _arguments(draft)
        task = _task(request, draft, args, kwargs)
        with site.reading() as tx:
            is_sent = bool(versions_of(tx, [draft.task_id]))
        if not is_sent:
            task.apply_async(args, kwargs, task_id=draft.task_id, **({"queue": draft.queue} if draft.queue else {}))
    except (_Wrong, EnqueueError, TypeError) as error:
        return _form(request, draft, str(error), 400)
    if not is_sent:
        reason = one_line(draft.reason)[:LONGEST_REASON] or "sent in the dashboard"
        with site.installation.source.transaction() as tx:
            operate.note(tx, [draft.task_id], VERB, user.name, reason)
        site.snapshot.forget()
    return RedirectResponse(f"{request.scope['root_path']}/tasks/{draft.task_id}", 303)


class _Wrong(ValueError):
    """What was typed cannot be sent, and why."""


def _require(request: Request) -> User:
    user = require(request, Role.ADMINISTER)  # it can run any task with any arguments
    if not site_of(request).has_app:
        raise BadAddress("Tasks can be sent by a dashboard with an app only: celery -A YOUR_APP mirepoix dashboard.")
    return user


def _like(request: Request, like: str, task_id: str) -> Draft:
    with site_of(request).reading() as tx:
        detail = None if "\x00" in like else task_detail(tx, like)
    if detail is None:
        raise NoSuchThing("The ledger has no task of that id.")
    if detail.arguments is None:
        raise BadAddress(f"Its arguments are {one_line(detail.content_type)}, not JSON, so they cannot be copied.")
    args, kwargs = site_of(request).redactor.arguments(*detail.arguments, parameters_of(request, detail.name))
    written = [json.dumps(part, indent=1, ensure_ascii=False) for part in (args, kwargs)]
    return Draft(task_id, detail.name, written[0], written[1], detail.queue)


def _arguments(draft: Draft) -> tuple[list[Any], dict[str, Any]]:
    try:
        if str(uuid.UUID(draft.task_id)) != draft.task_id:
            raise ValueError
    except ValueError:
        raise _Wrong("The form is not whole. Open it again.") from None
    if any(len(text) > LONGEST for text in (draft.args, draft.kwargs)) or len(draft.queue) > LONGEST_NAME:
        raise _Wrong("The arguments or the name of the queue are too long to be sent from a page.")
    found: list[Any] = []
    for what, text, kind in (("positional arguments", draft.args, list), ("keyword arguments", draft.kwargs, dict)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _Wrong(f"The {what} are not JSON: {error}.") from None
        if not isinstance(value, kind):
            raise _Wrong(f"The {what} must be a JSON {'array' if kind is list else 'object'}.")
        if HIDDEN in text:
            raise _Wrong(f"The {what} still have {HIDDEN}: type the value that was hidden.")
        found.append(value)
    return found[0], found[1]


def _task(request: Request, draft: Draft, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Return the task if it can take the call."""
    catalog, tasks = site_of(request).installation.catalog, _tasks(request)
    if draft.name not in tasks:
        raise _Wrong(f"The app has no task named {one_line(draft.name)[:LONGEST_NAME]!r}.")
    task = tasks[draft.name]
    lacks = catalog.incompatibility(Call(draft.name, version_of(task), Shape.of(args, kwargs)))
    if lacks is not None:
        raise _Wrong(f"{one_line(draft.name)} cannot take this call: {lacks.reason}.")
    return task


def _tasks(request: Request) -> dict[str, Any]:
    app = site_of(request).installation.app
    try:
        app.loader.import_default_modules()
    except Exception as error:
        raise BadAddress(
            f"The modules of the app's tasks fail when they are imported: {type(error).__name__}."
        ) from error
    return {name: task for name, task in app.tasks.items() if not name.startswith(("celery.", "mirepoix."))}


def _form(request: Request, draft: Draft, wrong: str = "", code: int = 200) -> Response:
    has_hidden = HIDDEN in draft.args or HIDDEN in draft.kwargs
    return render(
        request, "send.html", code, draft=draft, wrong=wrong, names=sorted(_tasks(request)), has_hidden=has_hidden
    )
