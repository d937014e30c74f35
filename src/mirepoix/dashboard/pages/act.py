"""Decide about one task, or all tasks of a filter: an exact preview first, then the decision about these tasks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.celery import chords
from mirepoix.celery.revoking import revoke_held
from mirepoix.connect.source import OwnConnection
from mirepoix.dashboard.access import Role, User
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.filters import filters_from, named
from mirepoix.dashboard.gate import own_path, visit_of
from mirepoix.dashboard.jobs import Job
from mirepoix.dashboard.pages.needs import require, require_filters, site_of
from mirepoix.dashboard.previews import Preview
from mirepoix.dashboard.render import render
from mirepoix.ledger import operate
from mirepoix.ledger.query.health import held_by_gone
from mirepoix.ledger.query.tasks import matching, names_of, versions_of
from mirepoix.operations.batches import BATCH, Report, deciding, grouped
from mirepoix.operations.batches import carry_out as decide
from mirepoix.operations.decisions import CANCEL, DISCARD, REQUEUE, RETRY, Decision
from mirepoix.operations.format import count, one_line
from mirepoix.states import State

CAP = 1_000
"""The most tasks that one decision or replay of a user with the role ``act`` changes."""

CAP_OF_ADMINISTRATORS = 100_000
SHOWN = 20
LONGEST_REASON = 1_000
TERMINATE = "terminate"

_HELD = {
    State.LEASED: "it is handed to a worker: open its page to revoke it",
    State.RUNNING: "a worker is running it: open its page to end it",
}
DECISIONS = {
    **{decision.verb: decision for decision in (RETRY, REQUEUE, DISCARD)},
    CANCEL.verb: replace(CANCEL, why_not={**CANCEL.why_not, **_HELD}),
    TERMINATE: replace(CANCEL, why_not={**CANCEL.why_not, **_HELD}),
}


def preview(request: Request) -> Response:
    """Show which tasks would be decided about, and what would become of them."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    verb = visit.first("verb")
    decision = _decision(verb, user)
    task_id = visit.first("id")
    cap = cap_of(user)
    with site.reading() as tx:
        if task_id:
            found = versions_of(tx, [task_id])
            ids = list(found)
        else:
            given = ImmutableMultiDict([(name, value) for name, values in visit.form.items() for value in values])
            if not named(given):
                raise BadAddress(f"Say which tasks to {verb}: choose at least one filter.")
            filters = replace(filters_from(given), among=None)
            if not any(given.getlist("state")):
                filters = replace(filters, states=decision.default_states)
            require_filters(request, filters)
            ids = [task for task, _, _ in matching(tx, filters, cap + 1)]
            found = {}
            for start in range(0, min(len(ids), cap), BATCH):
                found |= versions_of(tx, ids[start : start + BATCH])
        names = names_of(tx, ids[:SHOWN])
    is_cut = len(ids) > cap
    shown = [task for task in ids[:cap] if task in found]
    back = own_path(visit.first("back", "/tasks"))
    key = site.previews.keep(Preview(user.name, verb, {task: found[task] for task in shown}, back))
    forecasts = Counter((task.state, decision.forecast(task.state, has_due=task.has_due)) for task in found.values())
    return render(
        request,
        "preview.html",
        verb=verb,
        number=len(shown),
        is_cut=is_cut,
        cap=cap,
        forecasts=[(state, words, tasks) for (state, words), tasks in forecasts.most_common()],
        rows=[(task, names.get(task, ""), found[task].state, found[task].has_due) for task in shown[:SHOWN]],
        key=key,
        back=back,
        filters=[] if task_id else named(given),
    )


def carry_out(request: Request) -> Response:
    """Decide about the tasks of a preview: a few at once, many in a thread."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    preview_ = site.previews.take(request.path_params["preview_id"], user.name)
    if preview_ is None:
        raise NoSuchThing("This preview is over, or was used already. Look at the tasks again.")
    decision = _decision(preview_.verb, user)
    reason = one_line(visit.first("reason"))[:LONGEST_REASON] or f"{decision.done} in the dashboard"
    ids, report = list(preview_.versions), Report()

    def work(connection: OwnConnection, job: Job) -> None:
        ended = partial(chords.return_ended, site.installation) if decision.is_end else None
        for start in range(0, len(ids), BATCH):
            if job.is_stopped:
                job.lines.append(f"stopped: {count(len(ids) - start, 'task')} not touched")
                break
            batch = ids[start : start + BATCH]
            decide(connection, decision, batch, reason, report, ended, by=user.name, expected=preview_.versions)
            job.done = min(start + BATCH, len(ids))
        if report.held and site.has_app and len(ids) == 1:
            with deciding(connection) as tx:
                gone = held_by_gone(tx, report.held)
            revoke_held(
                site.installation.app,
                report,
                gone,
                terminate=preview_.verb == TERMINATE,
                how_to_kill="an administrator can kill it",
            )
            with deciding(connection) as tx:
                asked = [task_id for task_id in report.held if task_id in report.done]
                operate.note(tx, asked, preview_.verb, user.name, reason)
        job.lines += [f"{did}: {count(len(tasks), 'task')}" for did, tasks in grouped(report.done).items()]
        refused = grouped({task_id: why for task_id, (_, why) in report.not_done.items()})
        job.lines += [f"not {decision.done}: {count(len(tasks), 'task')}: {why}" for why, tasks in refused.items()]

    job = site.jobs.begin(
        f"{preview_.verb.capitalize()} {count(len(ids), 'task')}", user.name, preview_.back, len(ids), work
    )
    site.snapshot.forget()
    return RedirectResponse(f"{request.scope['root_path']}/jobs/{job.id}", 303)


def progress(request: Request) -> Response:
    """Show how far a job is."""
    job = site_of(request).jobs.get(request.path_params["job_id"])
    if job is None:
        raise NoSuchThing(
            "This process does not know that job: it ended long ago, another process runs it, or the dashboard was "
            "started again. What was committed is in the audit trail."
        )
    if job.is_over:
        site_of(request).snapshot.forget()
    return render(request, "job.html", job=job)


def stop(request: Request) -> Response:
    """Begin no other transaction of a job."""
    require(request, Role.ACT)
    job = site_of(request).jobs.get(request.path_params["job_id"])
    if job is None:
        raise NoSuchThing("This process does not know that job.")
    job.stop()
    return RedirectResponse(f"{request.scope['root_path']}/jobs/{job.id}", 303)


def cap_of(user: User) -> int:
    """Return the most tasks that one decision, or one replay, of the user changes."""
    return CAP_OF_ADMINISTRATORS if user.may(Role.ADMINISTER) else CAP


def _decision(verb: str, user: User) -> Decision:
    decision = DECISIONS.get(verb)
    if decision is None:
        raise BadAddress("A task can be retried, requeued, cancelled or discarded.")
    if verb == TERMINATE and not user.may(Role.ADMINISTER):
        raise BadAddress("Killing a running task needs the role 'administer'.")
    return decision
