"""Alerts in the admin: which are open, and which channels were notified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from mirepoix.django.ledger_admin import SECONDS, LedgerAdmin, ago, badge, cut, written
from mirepoix.django.models import Alert, FailureGroup, Task
from mirepoix.operations.format import one_line

OF_GROUPS = ("new_failure", "regression")
"""The kinds whose subject is the id of a failure group."""


class OpenFilter(SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    """Filter by whether the alert is open or over."""

    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("over", "over")]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset if self.value() is None else queryset.filter(closed_at__isnull=self.value() == "open")


class KindFilter(SimpleListFilter):  # type: ignore[misc]
    """Filter by the kind of alert."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        kinds = Alert.objects.order_by("kind").values_list("kind", flat=True).distinct()
        return [(kind, _spaced(kind)) for kind in kinds]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class AlertAdmin(LedgerAdmin):
    """Alerts, the open ones first, then the newest."""

    list_display = ("state_shown", "title_shown", "notified", "opened")
    list_display_links = ("title_shown",)
    list_filter = (OpenFilter, KindFilter)
    list_per_page = 50
    search_fields = ("title", "subject", "name")
    search_help_text = "Words of the title, a task's name or a queue."
    sortable_by = ()
    ordering = (F("closed_at").desc(nulls_first=True), "-opened_at", "id")

    def changelist_view(self, request: Any, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"title": "Alerts", **(extra_context or {})})

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).prefetch_related("tellings")

    @admin.display(description="state")  # type: ignore[untyped-decorator]
    def state_shown(self, alert: Alert) -> str:
        return badge(_state(alert))

    @admin.display(description="what")  # type: ignore[untyped-decorator]
    def title_shown(self, alert: Alert) -> str:
        """Return the title with the kind and the release."""
        words = " · ".join(filter(None, (_spaced(alert.kind), alert.in_release)))
        shown = '{} <small class="mirepoix-id">{}</small>'
        return format_html(shown, one_line(alert.title), words)  # type: ignore[no-any-return]

    @admin.display(description="notified")  # type: ignore[untyped-decorator]
    def notified(self, alert: Alert) -> str:
        """Show whether all channels were notified. Otherwise name those that were, and why the others were not."""
        now = [notification for notification in alert.tellings.all() if notification.occasion == alert.occasion]
        notified = [notification.channel for notification in now if notification.told_at is not None]
        if notified and len(notified) == len(now):
            return "yes" if len(notified) == 1 else f"yes, {len(notified)} channels"
        words = [", ".join(notified)] if notified else []
        words += [
            f"not {notification.channel}{': ' if notification.trouble else ''}{cut(notification.trouble)}"
            for notification in now
            if not notification.told_at
        ]
        return "; ".join(words) or "nobody"

    @admin.display(description="since")  # type: ignore[untyped-decorator]
    def opened(self, alert: Alert) -> str:
        """Return when it opened, and either how long it has been open or when it was over."""
        until = f"over {written(alert.closed_at)}" if alert.closed_at else f"open for {ago(alert.opened_at)}"
        shown = '{} <small class="mirepoix-id">{}</small>'
        return format_html(shown, written(alert.opened_at), until)  # type: ignore[no-any-return]

    def change_view(self, request: Any, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        alert = Alert.objects.filter(pk=unquote(object_id)).first()
        if alert is None:
            raise Http404(f"The ledger has no alert {unquote(object_id)!r}.")
        context = {
            **self.admin_site.each_context(request),
            "title": "Alert",
            "opts": self.opts,
            "media": self.media,
            "alert": alert,
            "badge": badge(_state(alert)),
            "kind": _spaced(alert.kind),
            "facts": [(name, value) for name, value in self._facts(request, alert) if value],
            "tellings": alert.tellings.order_by("-occasion", "channel"),
            "tellings_of_now": alert.occasion,
            "seconds": SECONDS,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/mirepoix/alert/detail.html", context)

    def _facts(self, request: Any, alert: Alert) -> Iterable[tuple[str, str]]:
        yield "Since", f"{written(alert.opened_at)}, {ago(alert.opened_at)} ago"
        yield "Over", written(alert.closed_at) if alert.closed_at else ""
        yield "Came back", f"{alert.occasion - 1} times" if alert.occasion > 1 else ""
        if alert.kind in OF_GROUPS:
            has_page = FailureGroup.objects.filter(pk=alert.subject).exists()
            yield "Failure group", self._link(request, "failuregroup", alert.subject) if has_page else alert.subject
        yield "Task", alert.name or ""
        if alert.task_id:
            has_page = Task.objects.filter(pk=alert.task_id).exists()
            yield "For example", self._link(request, "task", alert.task_id) if has_page else alert.task_id
        yield "Queue", alert.queue or ""
        yield "Release", alert.in_release or ""

    def _link(self, request: Any, model: str, id: str) -> str:
        if not request.user.has_perm(f"mirepoix.view_{model}"):
            return id
        url = reverse(f"admin:mirepoix_{model}_change", args=[quote(id)], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, id)  # type: ignore[no-any-return]


def _state(alert: Alert) -> str:
    return "open" if alert.closed_at is None else "over"


def _spaced(kind: str) -> str:
    return kind.replace("_", " ")
