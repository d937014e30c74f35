"""The ledger in Django's admin: see what became of every task, and decide about tasks that need you."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import partialmethod
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html

from mirepoix.django import project
from mirepoix.django.alerts_admin import AlertAdmin
from mirepoix.django.changelist import AMONG, TaskList
from mirepoix.django.decide import DECISIONS, decide
from mirepoix.django.failures_admin import FailureGroupAdmin
from mirepoix.django.filters import GroupFilter, NameFilter, PeriodFilter, QueueFilter, StateFilter
from mirepoix.django.ledger_admin import SECONDS, LedgerAdmin, ago, badge, cut, error_words, written
from mirepoix.django.models import Alert, FailureGroup, Hold, Result, Task, Worker
from mirepoix.django.pauses_admin import HoldAdmin
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.task_detail import MOST_CHILDREN, AttemptLine, TaskDetail, task_detail
from mirepoix.operations import why as judge
from mirepoix.operations.batches import Report, grouped
from mirepoix.operations.decisions import offered
from mirepoix.operations.format import count, memory, one_line, run_time
from mirepoix.operations.why import Why
from mirepoix.states import HELD, State

admin.site.register(FailureGroup, FailureGroupAdmin)
admin.site.register(Alert, AlertAdmin)
admin.site.register(Hold, HoldAdmin)

LISTED = 10
"""The most ids that a message names."""


def _action(verb: str) -> Any:
    @admin.action(description=f"{verb.capitalize()} selected tasks", permissions=[verb])  # type: ignore[untyped-decorator]
    def act(model_admin: TaskAdmin, request: Any, queryset: Any) -> Any:
        return model_admin.decide_about(request, verb, list(queryset.values_list("pk", flat=True)))

    act.__name__ = f"{verb}_tasks"
    return act


@admin.register(Task)
class TaskAdmin(LedgerAdmin):
    """Tasks, the newest first."""

    list_display = ("state_shown", "name_shown", "age", "fence", "reason_shown")
    list_display_links = ("name_shown",)
    list_filter = (StateFilter, GroupFilter, PeriodFilter, QueueFilter, NameFilter)
    list_per_page = 50
    search_fields = ("id", "name")
    search_help_text = (
        "The beginning of a task's id, or a part of its name."
        f" Of succeeded, cancelled and expired tasks, only the newest {AMONG:,} are searched."
    )
    sortable_by = ()
    ordering = ("-seq",)
    actions = tuple(map(_action, DECISIONS))
    change_list_template = "admin/mirepoix/task/change_list.html"

    def get_changelist(self, *_: Any, **__: Any) -> type[TaskList]:
        return TaskList

    def changelist_view(self, request: Any, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"title": "Tasks", **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.decide_view)
        return [path("decide/<str:verb>/", view, name="mirepoix_task_decide"), *super().get_urls()]

    # ---- the list

    @admin.display(description="state")  # type: ignore[untyped-decorator]
    def state_shown(self, task: Task) -> str:
        return badge(task.state, has_due=task.due_at is not None)

    @admin.display(description="name")  # type: ignore[untyped-decorator]
    def name_shown(self, task: Task) -> str:
        words = '{} <small class="mirepoix-id">{} · {}</small>'
        return format_html(words, task.name, task.id, task.queue)  # type: ignore[no-any-return]

    @admin.display(description="age")  # type: ignore[untyped-decorator]
    def age(self, task: Task) -> str:
        """Return the time since it was sent (if it waits), handed to a worker (if a worker has it) or finished."""
        state = State(task.state)
        moment = task.created_at if state is State.PENDING else task.leased_at if state in HELD else task.finished_at
        return ago(moment)

    @admin.display(description="reason")  # type: ignore[untyped-decorator]
    def reason_shown(self, task: Task) -> str:
        """Return the beginning of the reason. A held task shows its worker, a scheduled task its time."""
        if task.state == State.PENDING and task.due_at is not None:
            return f"due {written(task.due_at)}" + (f": {cut(task.reason)}" if task.reason else "")
        if task.state in HELD and task.worker_id:
            return f"on {cut(_worker_name(task))}"
        return cut(task.reason)

    # ---- one task

    def change_view(self, request: Any, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        object_id = unquote(object_id)
        with project.ledger().reading() as tx:
            detail = task_detail(tx, object_id)
            why = judge.why(detail, judge.look(tx, detail)) if detail and detail.state is State.PENDING else None
        task = Task.objects.filter(pk=object_id).first()
        if detail is None or task is None:
            raise Http404(f"The ledger has no task {object_id!r}: it was never sent, rolled back, or pruned.")
        # The times come from the models, which give them in the project's zone even without USE_TZ.
        begun = {attempt.fence: attempt.started_at or attempt.leased_at for attempt in task.attempts.defer("traceback")}
        verbs = offered(detail.state, has_due=detail.due_at is not None)
        context = {
            **self.admin_site.each_context(request),
            "title": detail.name,
            "opts": self.opts,
            "media": self.media,
            "detail": detail,
            "task": task,
            "badge": badge(detail.state, has_due=detail.due_at is not None),
            "facts": [
                *_waits(why),
                *((name, written(value)) for name, value in _facts(detail, task) if value not in (None, "")),
            ],
            "arguments": _arguments(detail),
            "attempts": [_attempt(detail, attempt, begun.get(attempt.fence)) for attempt in reversed(detail.attempts)],
            "failure_group": FailureGroup.objects.filter(pk=task.failure_group).values_list("title", flat=True).first(),
            "unseen": detail.fence - len(detail.attempts),
            "relatives": _relatives(detail),
            "steps": task.steps.defer("result").order_by("created_at"),
            "seconds": SECONDS,
            "decisions": task.decisions.order_by("id"),
            "edits": [
                (edit, _json(edit.before_edit), _json(edit.after_edit)) for edit in task.edits.order_by("-edited_at")
            ],
            "result": Result.objects.filter(pk=object_id).first(),
            "verbs": [verb for verb in verbs if self._may(verb, request)],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/mirepoix/task/detail.html", context)

    # ---- decisions

    def decide_view(self, request: Any, verb: str) -> Any:
        """Handle the buttons on a task's page and on the confirmation."""
        if request.method != "POST" or verb not in DECISIONS:
            raise Http404
        if not self._may(verb, request):
            raise PermissionDenied
        ids = request.POST.get("ids", "").split("\n")
        return self.decide_about(request, verb, [task_id for task_id in map(str.strip, ids) if task_id])

    def decide_about(self, request: Any, verb: str, ids: list[str]) -> Any:
        """Ask for a confirmation if there are several tasks. Otherwise decide, and report what was done."""
        back = request.POST.get("back", "")
        url = reverse("admin:mirepoix_task_changelist", current_app=self.admin_site.name)
        if len(ids) > 1 and not request.POST.get("is_sure"):
            return self._confirm(request, verb, ids, url + (f"?{request.GET.urlencode()}" if request.GET else ""))
        reason = one_line(request.POST.get("reason", "")) or f"{DECISIONS[verb].done} in the admin"
        try:
            who = request.user.get_username()
            report = decide(DECISIONS[verb], ids, f"{reason} (by {who})", who)
        except ConfigurationError as error:
            self.message_user(request, f"Nothing was changed: {error}", messages.ERROR)
        else:
            self._report(request, verb, report)
        if back == "task" and len(ids) == 1:
            url = reverse("admin:mirepoix_task_change", args=[quote(ids[0])], current_app=self.admin_site.name)
        elif back.startswith(f"{url}?"):
            url = back
        return HttpResponseRedirect(url)

    def _confirm(self, request: Any, verb: str, ids: list[str], back: str) -> Any:
        tasks = list(Task.objects.filter(pk__in=ids).values_list("state", "due_at", "name"))
        names = Counter(name for _, _, name in tasks).most_common()
        states = Counter((state, due_at is not None) for state, due_at, _ in tasks).most_common()
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {count(len(ids), 'task')}?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "number": len(ids),
            "states": [
                (badge(state, has_due=has_due), number, DECISIONS[verb].forecast(State(state), has_due=has_due))
                for (state, has_due), number in states
            ],
            "names": names[:LISTED],
            "other_names": len(names[LISTED:]),
            "ids": "\n".join(ids),
            "back": back,
        }
        return TemplateResponse(request, "admin/mirepoix/task/confirm.html", context)

    def _report(self, request: Any, verb: str, report: Report) -> None:
        """Show what was done, and what was not done and why."""
        for did, ids in grouped(report.done).items():
            self.message_user(request, f"{did}: {count(len(ids), 'task')}", messages.SUCCESS)
        for why, ids in grouped({task_id: why for task_id, (_, why) in report.not_done.items()}).items():
            listed = ", ".join(map(one_line, ids[:LISTED])) + (
                f" and {len(ids) - LISTED:,} more" if ids[LISTED:] else ""
            )
            message = f"not {DECISIONS[verb].done}: {count(len(ids), 'task')}: {why} ({listed})"
            self.message_user(request, message, messages.WARNING)

    def _may(self, verb: str, request: Any) -> bool:
        return bool(request.user.has_perm(f"mirepoix.{verb}_task")) and self.has_view_permission(request)

    # Django asks these for the actions.
    has_retry_permission = partialmethod(_may, "retry")
    has_requeue_permission = partialmethod(_may, "requeue")
    has_cancel_permission = partialmethod(_may, "cancel")
    has_discard_permission = partialmethod(_may, "discard")


@admin.register(Worker)
class WorkerAdmin(LedgerAdmin):
    """Worker processes, the live ones first."""

    list_display = ("state_shown", "name", "host", "pid", "pool", "concurrency", "heartbeat_at", "started_at", "reason")
    list_display_links = ("name",)
    list_filter = ("state",)
    list_per_page = 50
    ordering = ("state", "-heartbeat_at")

    @admin.display(description="state")  # type: ignore[untyped-decorator]
    def state_shown(self, worker: Worker) -> str:
        return badge(worker.state)


def _waits(why: Why | None) -> list[tuple[str, str]]:
    """Return what a waiting task waits for, in words."""
    return [] if why is None else [("Waits", " ".join([why.answer, *why.facts, why.next_step]).strip())]


def _facts(detail: TaskDetail, task: Task) -> Iterable[tuple[str, Any]]:
    yield "Queue", detail.queue + (f", priority {detail.priority}" if detail.priority else "")
    yield "Sent", task.created_at
    yield "ETA", task.eta
    yield "Due", task.due_at
    yield "Expires", task.expires_at
    yield "Handed over", task.leased_at
    yield "Started", task.started_at
    yield "Finished", task.finished_at
    yield "Ran", ", ".join(filter(None, (run_time(detail.run_time_s), memory(detail.peak_memory_kb))))
    if detail.worker_id is not None and detail.state in HELD:
        alive = "" if detail.worker_state == "alive" else f" ({detail.worker_state or 'not in the ledger'}!)"
        yield (
            "Worker",
            f"{detail.worker or detail.worker_id}{alive}" + (f", process {detail.pid}" if detail.pid else ""),
        )
    yield "Attempts", f"{detail.fence}" + (f", {count(detail.deaths, 'death')} of its process" if detail.deaths else "")
    yield "Retries by Celery", detail.retries or None
    yield "Group", detail.group_id
    if detail.chord is not None:
        yield "Chord", f"{detail.chord.state}: {detail.chord.done} of {detail.chord.size} members have returned"


def _arguments(detail: TaskDetail) -> list[tuple[str, str]] | None:
    if detail.arguments is None:
        return None
    args, kwargs = detail.arguments
    shown = [(str(number), _json(value)) for number, value in enumerate(args)]
    return shown + [(f"{key} =", _json(value)) for key, value in kwargs.items()]


def _attempt(detail: TaskDetail, attempt: AttemptLine, at: datetime | None) -> dict[str, Any]:
    details = (
        f"ran {run_time(attempt.run_time_s)}" if attempt.run_time_s is not None else "",
        attempt.beginning,
        memory(attempt.peak_memory_kb),
        f"signal {attempt.signal}" if attempt.signal else "",
        f"exit code {attempt.exit_code}" if attempt.exit_code is not None else "",
        f"on {attempt.worker or attempt.worker_id}" if attempt.worker_id else "",
        f"process {attempt.pid}" if attempt.pid else "",
    )
    return {
        "line": attempt,
        "badge": badge(attempt.outcome),
        "error": error_words(attempt.error_type, attempt.error),
        "at": at,
        "details": " · ".join(filter(None, details)),
        "is_last": attempt.fence == max(other.fence for other in detail.attempts),
    }


def _relatives(detail: TaskDetail) -> list[tuple[str, Any, str]]:
    above = [("sent by", detail.parent), ("root", detail.root)]
    if detail.parent is not None and detail.root is not None and detail.parent.id == detail.root.id:
        above = above[:1]
    found = [(word, task) for word, task in above if task is not None] + [("it sent", task) for task in detail.children]
    is_cut = len(detail.children) == MOST_CHILDREN
    more = [("…", None, f"only the first {MOST_CHILDREN} tasks that it sent")] if is_cut else []
    return [(word, task, badge(task.state) if task.state else "not in the ledger") for word, task in found] + more


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _worker_name(task: Task) -> str:
    try:
        return str(task.worker.name)
    except (AttributeError, Worker.DoesNotExist):
        return str(task.worker_id)
