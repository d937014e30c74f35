"""Failure groups in the admin: what fails, since when and why, and what people decided about it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partialmethod
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import InvalidPage
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html

from mirepoix.django import project
from mirepoix.django.ledger_admin import SECONDS, LedgerAdmin, ago, badge, error_words, written
from mirepoix.django.models import Attempt, FailureGroup
from mirepoix.ledger import counting
from mirepoix.ledger.failures import Ignoring
from mirepoix.ledger.query.failures import LISTED, Group, GroupStatus, TasksOf, group_detail, groups
from mirepoix.operations import failure_groups
from mirepoix.operations.failure_groups import OFFERED, GroupDecision
from mirepoix.operations.format import count, one_line

DAY_S = 86_400.0

IGNORED_UNTIL = {
    "1d": ("for a day", Ignoring(for_s=DAY_S)),
    "7d": ("for a week", Ignoring(for_s=7 * DAY_S)),
    "20h": ("while at most 20 fail in an hour", Ignoring(per_hour=20)),
    "100": ("for 100 more failures", Ignoring(more=100)),
    "ever": ("for good", Ignoring()),
}
"""The limits that the page of a group offers. ``mirepoix failures ignore`` takes any numbers."""

VERBS = ("resolve", "ignore", "reopen")

DECIDED = {
    GroupStatus.REGRESSED: "Resolved before",
    GroupStatus.OPEN: "Decided",
    GroupStatus.IGNORED: "Ignored",
    GroupStatus.RESOLVED: "Resolved",
}


class StatusFilter(SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    """Filter by status. The default shows the groups that need a decision."""

    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [("all", "all")] + [(status.value, status.value) for status in GroupStatus]

    def choices(self, changelist: Any) -> Iterable[dict[str, Any]]:
        """Give the first choice, which is the default, a name of its own."""
        first, *others = super().choices(changelist)
        return [{**first, "display": "needs a decision"}, *others]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset  # GroupList has filtered it

    def statuses(self) -> frozenset[GroupStatus]:
        if self.value() == "all":
            return frozenset(GroupStatus)
        return frozenset({GroupStatus(self.value())}) if self.value() in set(GroupStatus) else LISTED


class _ColumnFilter(SimpleListFilter):  # type: ignore[misc]
    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        found = FailureGroup.objects.order_by(self.parameter_name).values_list(self.parameter_name, flat=True)
        return [(value, value) for value in found.distinct() if value]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset


class GroupNameFilter(_ColumnFilter):
    """Filter by the task that failed last in the group."""

    title = "task"
    parameter_name = "name"


class FirstReleaseFilter(_ColumnFilter):
    """Filter by the release in which the group failed first."""

    title = "first release"
    parameter_name = "first_release"


class GroupList(ChangeList):  # type: ignore[misc]
    """The groups in the ledger's order: first those that need a decision and failed within the hour."""

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> Any:
        """Return the groups that were found. The actions get the same groups."""
        self.filter_specs, self.has_filters, remaining, _, self.has_active_filters = self.get_filters(request)
        if remaining:
            raise IncorrectLookupParameters(f"no such filter: {', '.join(remaining)}")
        self.clear_all_filters_qs = self.get_query_string(remove=self.get_filters_params())
        chosen = {spec.parameter_name: spec for spec in self.filter_specs}
        words = self.query.lower().split()
        counting.catch_up(project.ledger())
        with project.ledger().reading() as tx:
            self.groups = [
                group
                for group in groups(tx)
                if group.status in chosen["state"].statuses()
                and all(
                    chosen[name].value() in (None, getattr(group, name))
                    for name in ("name", "first_release")
                    if name in chosen
                )
                and all(word in f"{group.id} {group.title} {group.name}".lower() for word in words)
            ]
        return self.root_queryset.filter(pk__in=[group.id for group in self.groups])

    def get_results(self, request: Any) -> None:
        """Set the groups of one page."""
        self.paginator = self.model_admin.get_paginator(request, self.groups, self.list_per_page)
        try:
            page = list(self.paginator.page(self.page_num).object_list)
        except InvalidPage:
            raise IncorrectLookupParameters from None
        rows = FailureGroup.objects.in_bulk([group.id for group in page])
        self.result_list = []
        for group in page:
            if group.id in rows:
                rows[group.id].counted = group
                rows[group.id].may_see_tasks = request.user.has_perm("mirepoix.view_task")
                self.result_list.append(rows[group.id])
        self.result_count = len(self.groups)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.groups)
        self.can_show_all = False
        self.multi_page = len(self.groups) > self.list_per_page


def _action(verb: str, description: str, until: Ignoring | None = None) -> Any:
    @admin.action(description=description, permissions=[verb])  # type: ignore[untyped-decorator]
    def act(model_admin: FailureGroupAdmin, request: Any, queryset: Any) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        model_admin.decide_about(request, _decision(verb, until), ids, None)

    act.__name__ = f"{verb}_groups"
    return act


class FailureGroupAdmin(LedgerAdmin):
    """Causes of failures, the most urgent first."""

    list_display = (
        "status_shown",
        "title_shown",
        "failures_shown",
        "kept",
        "last_seen",
    )
    list_display_links = ("title_shown",)
    list_filter = (StatusFilter, GroupNameFilter, FirstReleaseFilter)
    list_per_page = 50
    search_fields = ("id", "title", "name")
    search_help_text = "Words of the title, a part of the task's name or of the id."
    sortable_by = ()
    ordering = ("-last_seen_at",)
    actions = (
        _action("resolve", "Resolve selected failure groups"),
        _action("ignore", "Ignore selected failure groups for a day", IGNORED_UNTIL["1d"][1]),
        _action("reopen", "Reopen selected failure groups"),
    )
    change_list_template = "admin/mirepoix/failuregroup/change_list.html"

    def get_changelist(self, *_: Any, **__: Any) -> type[GroupList]:
        return GroupList

    def changelist_view(self, request: Any, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"title": "Failure groups", **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.decide_view)
        return [
            path("<path:object_id>/decide/<str:verb>/", view, name="mirepoix_failuregroup_decide"),
            *super().get_urls(),
        ]

    # ---- the list

    @admin.display(description="state")  # type: ignore[untyped-decorator]
    def status_shown(self, group: FailureGroup) -> str:
        return badge(group.counted.status)

    @admin.display(description="cause")  # type: ignore[untyped-decorator]
    def title_shown(self, group: FailureGroup) -> str:
        words = '{}: {} <small class="mirepoix-id">{}</small>'
        return format_html(words, group.name, one_line(group.title), group.id)  # type: ignore[no-any-return]

    @admin.display(description="failed attempts")  # type: ignore[untyped-decorator]
    def failures_shown(self, group: FailureGroup) -> str:
        """Return the failed attempts, in total and within the hour."""
        words = '{} <small class="mirepoix-id">{} this hour</small>'
        return format_html(words, f"{group.failures:,}", f"{group.counted.last_hour:,}")  # type: ignore[no-any-return]

    @admin.display(description="failed for good")  # type: ignore[untyped-decorator]
    def kept(self, group: FailureGroup) -> str:
        """Return how many tasks failed for good, and how many wait for another attempt or run it."""
        shown = f"{group.counted.kept:,}"
        if group.counted.kept and group.may_see_tasks:
            url = self._tasks_url(group=group.id, state="attention")
            shown = format_html('<a href="{}">{}</a>', url, shown)
        if not group.counted.waiting:
            return shown
        waiting = f"{group.counted.waiting:,}"
        return format_html('{} <small class="mirepoix-id">{} waiting</small>', shown, waiting)  # type: ignore[no-any-return]

    @admin.display(description="last seen")  # type: ignore[untyped-decorator]
    def last_seen(self, group: FailureGroup) -> str:
        """Return how long ago the last failure was, and how long ago and in which release the first."""
        first = f"first {ago(group.first_seen_at)} ago" + (f", {group.first_release}" if group.first_release else "")
        words = '{} ago <small class="mirepoix-id">{}</small>'
        return format_html(words, ago(group.last_seen_at), first)  # type: ignore[no-any-return]

    def _tasks_url(self, **query: str) -> str:
        return f"{reverse('admin:mirepoix_task_changelist', current_app=self.admin_site.name)}?{urlencode(query)}"

    # ---- one group

    def change_view(self, request: Any, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        object_id = unquote(object_id)
        counting.catch_up(project.ledger())
        with project.ledger().reading() as tx:
            found = [candidate for candidate in groups(tx, object_id) if candidate.id == object_id]
            detail = group_detail(tx, found[0]) if found else None
        # The times come from the models, which give them in the project's zone even without USE_TZ.
        group = FailureGroup.objects.filter(pk=object_id).first()
        if detail is None or group is None:
            raise Http404(f"The ledger has no failure group {object_id!r}.")
        latest = detail.latest and Attempt.objects.filter(pk=f"{detail.latest.task_id}:{detail.latest.fence}").first()
        may_see_tasks = request.user.has_perm("mirepoix.view_task")
        context = {
            **self.admin_site.each_context(request),
            "title": "Failure group",
            "opts": self.opts,
            "media": self.media,
            "group": group,
            "badge": badge(detail.group.status),
            "why": _why(detail.group, group),
            "facts": [(name, value) for name, value in _facts(detail.group, group) if value],
            "tasks": [self._row(group, tasks) for tasks in detail.tasks],
            "tasks_url": self._tasks_url(group=group.id),
            "kept": detail.group.kept,
            "latest": latest,
            "error": latest and error_words(latest.error_type, latest.error),
            "may_see_tasks": may_see_tasks,
            "replays": zip(group.replays.order_by("-began_at")[: len(detail.replays)], detail.replays, strict=False),
            "seconds": SECONDS,
            "verbs": [verb for verb in OFFERED[detail.group.status] if self._may(verb, request)],
            "until": [(key, words) for key, (words, _) in IGNORED_UNTIL.items()],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/mirepoix/failuregroup/detail.html", context)

    def _row(self, group: FailureGroup, tasks: TasksOf) -> tuple[str, str, str, str]:
        url = self._tasks_url(group=group.id, state=tasks.state.value, name=tasks.name)
        return f"{tasks.count:,}", badge(tasks.state), tasks.name, url

    # ---- decisions

    def decide_view(self, request: Any, object_id: str, verb: str) -> Any:
        """Handle the buttons on a group's page."""
        if request.method != "POST" or verb not in VERBS:
            raise Http404
        if not self._may(verb, request):
            raise PermissionDenied
        _, until = IGNORED_UNTIL.get(request.POST.get("until", ""), IGNORED_UNTIL["1d"])
        decision = _decision(verb, until, one_line(request.POST.get("in_release", "")) or None)
        id = unquote(object_id)
        self.decide_about(request, decision, [id], one_line(request.POST.get("note", "")) or None)
        url = reverse("admin:mirepoix_failuregroup_change", args=[quote(id)], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    def decide_about(self, request: Any, decision: GroupDecision, ids: list[str], note: str | None) -> None:
        """Decide in one transaction, and report what was done."""
        done = failure_groups.decide(project.ledger(), decision, ids, request.user.get_username(), note)
        if done:
            message = f"{decision.done}: {count(len(done), 'failure group')}"
            self.message_user(request, message, messages.SUCCESS)
        if len(done) < len(ids):
            lost = count(len(ids) - len(done), "failure group")
            self.message_user(request, f"not {decision.done}: {lost} no longer in the ledger", messages.WARNING)

    def _may(self, verb: str, request: Any) -> bool:
        return bool(request.user.has_perm(f"mirepoix.{verb}_failuregroup")) and self.has_view_permission(request)

    # Django asks these for the actions.
    has_resolve_permission = partialmethod(_may, "resolve")
    has_ignore_permission = partialmethod(_may, "ignore")
    has_reopen_permission = partialmethod(_may, "reopen")


def _decision(verb: str, until: Ignoring | None, in_release: str | None = None) -> GroupDecision:
    if verb == "resolve":
        return failure_groups.resolve(in_release)
    return failure_groups.ignore(until or Ignoring()) if verb == "ignore" else failure_groups.REOPEN


def _why(counted: Group, group: FailureGroup) -> str:
    """Return the sentence that explains the status."""
    if counted.status is GroupStatus.REGRESSED:
        where = f" in release {group.regressed_in}" if group.regressed_in else ""
        return f"It failed again{where} after it was resolved."
    if counted.status is GroupStatus.RESOLVED:
        return f"Fixed by release {group.resolved_in}." if group.resolved_in else ""
    if counted.status is not GroupStatus.IGNORED:
        return ""
    conditions = [
        f"until {written(group.ignored_until)}" if group.ignored_until else "",
        failure_groups.ignored_failures_left(counted),
        f"while at most {group.ignored_per_hour:,} fail in an hour" if group.ignored_per_hour else "",
    ]
    return f"Ignored {' or '.join(filter(None, conditions)) or 'for good'}."


def _facts(counted: Group, group: FailureGroup) -> Iterable[tuple[str, str]]:
    yield "Task", group.name
    yield "Failed attempts", failure_groups.failed_attempts(counted)
    yield "First seen", _seen(group.first_seen_at, group.first_release)
    yield "Last seen", _seen(group.last_seen_at, group.last_release)
    yield "Regressed", failure_groups.regressed(counted, written(group.regressed_at))
    yield DECIDED[counted.status], failure_groups.decided(counted, written(group.decided_at))
    yield "Note", group.note or ""


def _seen(moment: Any, release: str | None) -> str:
    return failure_groups.seen(written(moment), ago(moment), release)
