"""The causes of failures: all of them, one of them, the decisions about it, and its replays."""

from __future__ import annotations

import math
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mirepoix.connect.source import OwnConnection
from mirepoix.dashboard.access import Role
from mirepoix.dashboard.errors import BadAddress, NoSuchThing
from mirepoix.dashboard.gate import visit_of
from mirepoix.dashboard.jobs import Job
from mirepoix.dashboard.pages import act
from mirepoix.dashboard.pages.needs import require, shown_frames, shown_message, site_of, user_of
from mirepoix.dashboard.render import render
from mirepoix.ledger import counting
from mirepoix.ledger import replay as ledger_replay
from mirepoix.ledger.failures import Ignoring
from mirepoix.ledger.query.failures import LISTED, Group, GroupStatus, group_detail, groups
from mirepoix.operations import failure_groups, filter_words
from mirepoix.operations import replay as operation
from mirepoix.operations.failure_groups import OFFERED, GroupDecision
from mirepoix.operations.format import count, one_line, printable

SHOWN = 200
MOST_PER_SECOND = 1_000.0
CANARIES_WAIT_S = 600.0


def show_all(request: Request) -> Response:
    """Show the causes, the most urgent first."""
    site = site_of(request)
    counting.catch_up(site.installation.source, excused=site.installation.source.errors)
    wanted = request.query_params.get("show", "")
    with site.reading() as tx:
        found = groups(tx)
    release = request.query_params.get("release", "")
    statuses = frozenset(GroupStatus) if wanted == "all" else LISTED
    shown = [group for group in found if group.status in statuses and (not release or group.first_release == release)]
    return render(
        request,
        "failures.html",
        groups=shown[:SHOWN],
        more=len(shown[SHOWN:]),
        hidden=0 if release else len(found) - len(shown),
        release=release,
        is_all=wanted == "all",
    )


def show(request: Request) -> Response:
    """Show one cause."""
    site = site_of(request)
    counting.catch_up(site.installation.source, excused=site.installation.source.errors)
    with site.reading() as tx:
        group = _group(tx, request)
        detail = group_detail(tx, group)
    latest = detail.latest
    may_see = user_of(request).may(Role.ARGUMENTS)
    return render(
        request,
        "failure.html",
        group=group,
        detail=detail,
        cap=act.cap_of(user_of(request)),
        attempts=failure_groups.failed_attempts(group),
        verbs=OFFERED[group.status] if user_of(request).may(Role.ACT) else (),
        message=shown_message(request, latest.error) if latest else "",
        own=shown_frames(request, latest.traceback) if latest else [],
        traceback=printable(site.redactor.text(latest.traceback or "")) if latest and may_see else "",
    )


def decide(request: Request) -> Response:
    """Resolve, ignore or reopen."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    decision = _decision(visit.first("verb"), request)
    with site.reading() as tx:
        group = _group(tx, request)
    failure_groups.decide(
        site.installation.source, decision, [group.id], user.name, one_line(visit.first("note"))[:1000] or None
    )
    site.snapshot.forget()
    return _back(request, f"/failures/{group.id}")


def replay(request: Request) -> Response:
    """Run the failed tasks of the cause again, in a thread: a few first, and the others at a limited rate."""
    user, visit, site = require(request, Role.ACT), visit_of(request), site_of(request)
    canaries = _whole(visit.first("canaries", "3"), "The number of canaries", 0, 1_000)
    rate = _whole(visit.first("rate", "50"), "The rate", 1, int(MOST_PER_SECOND))
    with site.reading() as tx:
        group = _group(tx, request)
        chosen = ledger_replay.choose(tx, group.id)
    if not chosen:
        raise BadAddress("No task failed for good by this cause, so there is nothing to run again.")
    most = min(len(chosen), act.cap_of(user))
    limit = _whole(visit.first("limit") or str(most), "The number of tasks", 1, most)
    reason = one_line(visit.first("reason"))[:1000] or f"replayed: {group.id}"
    left, chosen = len(chosen) - limit, chosen[:limit]

    def work(connection: OwnConnection, job: Job) -> None:
        begun = operation.begin(
            connection,
            group,
            chosen,
            canaries=canaries,
            rate_per_s=float(rate),
            by=user.name,
            reason=reason,
            report=job.lines.append,
        )
        job.on_stop = begun.stop
        if job.is_stopped:
            begun.stop()
        job.lines.append(f"replay {begun.id} of {count(len(chosen), 'task')}")
        try:
            operation.carry_out(connection, begun, canaries, CANARIES_WAIT_S)
        finally:
            job.done = len(begun.replayed)
            operation.end(connection, begun)
        job.lines.append(f"{count(len(begun.replayed), 'task')} replayed: {begun.outcome}")
        if left:
            job.lines.append(f"left for another replay: {count(left, 'task')}")
        job.lines += [f"{one_line(task.task_id)} {operation.became(task)}" for task in begun.not_well[:5]]

    title = f"Replay of {printable(group.title)}"
    job = site.jobs.begin(title, user.name, f"/failures/{group.id}", len(chosen), work)
    site.snapshot.forget()
    return _back(request, f"/jobs/{job.id}")


def undo(request: Request) -> Response:
    """Take back the tasks of a replay that no worker has."""
    user, site = require(request, Role.ACT), site_of(request)
    replay_id = request.path_params["replay_id"]
    with site.reading() as tx:
        if "\x00" in replay_id or not ledger_replay.progress(tx, replay_id):
            raise NoSuchThing("There is no such replay, or its tasks were pruned.")
    back = visit_of(request).first("group")

    def work(connection: OwnConnection, job: Job) -> None:
        taken_back: list[str] = []
        try:
            operation.take_back(connection, replay_id, user.name, taken_back)
        finally:
            job.done = job.total = len(taken_back)
            job.lines.append(f"taken back: {count(len(taken_back), 'task')}. The others were handed to a worker.")

    job = site.jobs.begin(f"Undo of replay {one_line(replay_id)}", user.name, f"/failures/{back}", 0, work)
    site.snapshot.forget()
    return _back(request, f"/jobs/{job.id}")


def _group(tx: object, request: Request) -> Group:
    asked = request.path_params["group_id"]
    found = [] if "\x00" in asked else groups(tx, asked)  # type: ignore[arg-type]
    exact = [group for group in found if group.id == asked] or found
    if len(exact) != 1:
        raise NoSuchThing(f"There is no failure group {asked!r}.")
    return exact[0]


def _decision(verb: str, request: Request) -> GroupDecision:
    visit = visit_of(request)
    if verb == "resolve":
        return failure_groups.resolve(one_line(visit.first("release"))[:200] or None)
    if verb == "reopen":
        return failure_groups.REOPEN
    if verb != "ignore":
        raise BadAddress("A cause can be resolved, ignored or reopened.")
    lasts, more, per_hour = visit.first("for"), visit.first("count"), visit.first("per_hour")
    try:
        for_s: timedelta | None = filter_words.duration_of(lasts) if lasts else None
    except ValueError as error:
        raise BadAddress(str(error)) from None
    return failure_groups.ignore(
        Ignoring(
            None if for_s is None else for_s.total_seconds(),
            _whole(more, "The number of failures", 1, 10**9) if more else None,
            _whole(per_hour, "The failures an hour", 1, 10**6) if per_hour else None,
        )
    )


def _whole(text: str, what: str, least: int, most: int) -> int:
    try:
        found = int(text) if text.isascii() and len(text) < 20 else math.nan  # noqa: PLR2004
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise BadAddress(f"{what} must be a whole number from {least} to {most:,}.")
    return int(found)


def _back(request: Request, path: str) -> Response:
    return RedirectResponse(request.scope["root_path"] + path, 303)
